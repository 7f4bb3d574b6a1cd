"""What is asked of the proxies that cannot be had here: their messages, from their source."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.environment.schema import Environment, Role
from pdtest.routing.membership import (
    AscendMembership,
    DemoMembership,
    EmbeddedMembership,
    Refused,
    membership_of,
)

URL = "http://127.0.0.1:8102/"
NOW = {"message": "...", "current_prefill_instances": ["127.0.0.1:8101"], "current_decode_instances": []}

Answer = Callable[[httpx.Request], httpx.Response]


class Asked:
    """A client whose requests are answered by a function, and kept."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = answer
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._handle))
        self.endpoint = Endpoint("proxy", "http://proxy", model="m", http=http)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer(request)

    @property
    def last(self) -> tuple[str, str, Any]:
        request = self.requests[-1]
        return request.method, request.url.path, json.loads(request.content or b"null")


async def test_ascend_takes_lists_and_answers_with_what_there_is() -> None:
    asked = Asked(lambda _: httpx.Response(200, json=NOW))
    members = AscendMembership(asked.endpoint)
    await members.add(Role.PREFILL, URL)
    assert asked.last == ("POST", "/instances/add", {"type": "prefill", "instances": ["127.0.0.1:8102"]})
    await members.remove(Role.DECODE, URL)
    assert asked.last == ("POST", "/instances/remove", {"type": "decode", "instances": ["127.0.0.1:8102"]})
    assert await members.listed() == {Role.PREFILL: ("127.0.0.1:8101",), Role.DECODE: ()}
    assert asked.last == ("POST", "/instances/add", {"type": "prefill", "instances": []})


async def test_an_error_with_status_200_is_a_refusal() -> None:
    members = AscendMembership(
        Asked(lambda _: httpx.Response(200, json={"error": "Only 'prefill'"})).endpoint
    )
    with pytest.raises(Refused, match="Only 'prefill'"):
        await members.add(Role.HYBRID, URL)


@pytest.mark.parametrize("answer", [httpx.Response(200, text="OK"), httpx.Response(200, json=[1])])
async def test_what_is_no_object_is_a_refusal(answer: httpx.Response) -> None:
    with pytest.raises(Refused):
        await AscendMembership(Asked(lambda _: answer).endpoint).remove(Role.DECODE, URL)


async def test_the_demo_takes_one_at_a_time_for_a_key() -> None:
    asked = Asked(lambda _: httpx.Response(200, json={"message": "Added"}))
    members = DemoMembership(asked.endpoint, key="secret")
    await members.add(Role.DECODE, URL)
    assert asked.last == ("POST", "/instances/add", {"type": "decode", "instance": "127.0.0.1:8102"})
    assert asked.requests[-1].headers["x-api-key"] == "secret"
    assert not members.removes
    with pytest.raises(Refused, match="no path for that"):
        await members.remove(Role.DECODE, URL)


async def test_the_demo_lists_its_nodes() -> None:
    nodes = {"prefill_nodes": ["a:1"], "decode_nodes": ["b:2", "c:3"], "prefill_node_count": 1}
    asked = Asked(lambda _: httpx.Response(200, json=nodes))
    listed = await DemoMembership(asked.endpoint, key="").listed()
    assert listed == {Role.PREFILL: ("a:1",), Role.DECODE: ("b:2", "c:3")}
    assert asked.last[:2] == ("GET", "/status")


@pytest.mark.parametrize(
    ("service", "settings", "kind", "key"),
    [
        ("embedded-proxy", {"args": {"instances_key": "k"}}, EmbeddedMembership, "k"),
        ("embedded-proxy", {}, EmbeddedMembership, None),
        ("demo-proxy", {"env": {"ADMIN_API_KEY": "k"}}, DemoMembership, "k"),
        ("ascend-lb-proxy", {}, AscendMembership, None),
        ("toy-proxy", {}, type(None), None),
    ],
)
async def test_each_program_has_its_own(
    service: str, settings: dict[str, Any], kind: type[object], key: str | None
) -> None:
    environment = Environment.model_validate(
        {
            "name": "made up",
            "model": {"path": "m", "dtype": "float32", "block_size": 16, "max_model_len": 64},
            "connector": {"contract": ["nixl"]},
            "members": {"proxy": {"role": "proxy", "service": service, **settings}},
        },
        strict=False,
    )
    asked = Asked(lambda _: httpx.Response(200, json={}))
    members = membership_of(environment, asked.endpoint)
    assert type(members) is kind
    if members is not None:
        await members.add(Role.DECODE, URL)
        assert asked.requests[-1].headers.get("x-api-key") == key


async def test_a_status_that_is_no_200_is_a_refusal() -> None:
    asked = Asked(lambda _: httpx.Response(403, json={"detail": "Forbidden: Invalid API Key."}))
    with pytest.raises(Refused, match="status 403"):
        await DemoMembership(asked.endpoint, key="wrong").add(Role.DECODE, URL)
