from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from pdtest.client.answer import Answer, Timings, Usage
from pdtest.client.endpoint import Endpoint
from pdtest.environment.schema import Environment
from pdtest.routing.addresses import Addresses, location
from pdtest.routing.counted import MetricsObserver
from pdtest.routing.observer import Observer
from pdtest.routing.registry import observer_for
from pdtest.routing.served import Observation
from pdtest.routing.told import HeaderObserver, RequestIdObserver

URLS = {
    "p1": "http://10.0.0.1:8100",
    "d1": "http://10.0.0.1:8200/",
    "v6": "http://[fd00::1]:8100",
    "tls": "https://decode.example",
}
PORTS = {"p1": {"http": 8100, "p2p": 21001}, "d1": {"http": 8200, "p2p": 22001}}
TAIL = "af57169560bd4d38bd021fdee591f306"


@pytest.fixture
def engines() -> Mapping[str, Endpoint]:
    http = httpx.AsyncClient()
    return {
        name: Endpoint(name, url, model="m", http=http, ports=PORTS.get(name, {}))
        for name, url in URLS.items()
    }


async def told(observer: Observer, **said: Any) -> Observation:
    async def send() -> Sequence[Answer]:
        usage, timings = (
            Usage(prompt_tokens=1, completion_tokens=1),
            Timings(sent_at=0, first_byte_s=0, total_s=0),
        )
        return [
            Answer(
                member="router",
                request_id="mine",
                status=200,
                model="m",
                choices=(),
                usage=usage,
                timings=timings,
                **said,
            )
        ]

    return await observer.observe(send)


@pytest.mark.parametrize(
    ("prefill", "decode", "served"),
    [
        ("10.0.0.1:8100", "10.0.0.1:8200", ("p1", "d1")),
        ("10.0.0.1:8200", "10.0.0.1:8200", ("d1", "d1")),
        ("[fd00::1]:8100", "decode.example:443", ("v6", "tls")),
    ],
)
async def test_headers_name_instances(
    prefill: str, decode: str, served: tuple[str, str], engines: Mapping[str, Endpoint]
) -> None:
    headers = {"x-pdtest-prefill": prefill, "x-pdtest-decode": decode}
    seen = await told(HeaderObserver(engines), headers=headers)
    assert [(one.request_id, one.prefill, one.decode) for one in seen.served] == [("mine", *served)]
    assert seen.unknown == seen.uncounted == ""


@pytest.mark.parametrize(
    ("name", "served"),
    [
        (f"cmpl-___prefill_addr_10.0.0.1:8100___decode_addr_10.0.0.1:8200_{TAIL}", ("p1", "d1")),
        # vLLM adds random letters, and a number where there are several choices.
        (f"cmpl-___prefill_addr_10.0.0.1:8100___decode_addr_10.0.0.1:8200_{TAIL}-0-1a2b", ("p1", "d1")),
        (f"chatcmpl-___prefill_addr_10.0.0.1:21001___decode_addr_10.0.0.1:22001_{TAIL}", ("p1", "d1")),
        (f"___prefill_addr_[fd00::1]:8100___decode_addr_10.0.0.1:8200_{TAIL}", ("v6", "d1")),
    ],
)
async def test_ids_name_instances(
    name: str, served: tuple[str, str], engines: Mapping[str, Endpoint]
) -> None:
    seen = await told(RequestIdObserver(engines), raw={"id": name})
    assert [(one.prefill, one.decode) for one in seen.served] == [served]
    assert seen.unknown == ""


@pytest.mark.parametrize("raw", [{}, {"id": None}, {"id": "cmpl-1"}, {"id": "___prefill_addr_10.0.0.1:8100"}])
async def test_an_id_that_names_nobody_leaves_it_open(
    raw: Mapping[str, Any], engines: Mapping[str, Endpoint]
) -> None:
    seen = await told(RequestIdObserver(engines), raw=raw)
    assert [(one.prefill, one.decode) for one in seen.served] == [(None, None)]
    assert "name no prefill instance in the answer's id" in seen.unknown


async def test_somebody_who_is_no_engine_here_is_named_and_not_guessed(
    engines: Mapping[str, Endpoint],
) -> None:
    headers = {"x-pdtest-prefill": "10.0.0.1:8100", "x-pdtest-decode": "10.0.0.9:8200"}
    seen = await told(HeaderObserver(engines), headers=headers)
    assert [(one.prefill, one.decode) for one in seen.served] == [("p1", None)]
    assert "10.0.0.9:8200 for decode, which is no engine of this environment" in seen.unknown
    assert seen.prefills == {"p1": 1}
    assert not seen.decodes


def test_locations_are_as_routers_write_them(engines: Mapping[str, Endpoint]) -> None:
    assert [location(url) for url in URLS.values()] == [
        "10.0.0.1:8100",
        "10.0.0.1:8200",
        "[fd00::1]:8100",
        "decode.example:443",
    ]
    assert Addresses.of(engines).member("10.0.0.1:22001") == "d1"


@pytest.mark.parametrize(
    ("service", "observe", "kind"),
    [
        ("embedded-proxy", "auto", HeaderObserver),
        ("vllm-router", "auto", RequestIdObserver),
        ("p2p-nccl-proxy", "auto", RequestIdObserver),
        ("toy-proxy", "auto", MetricsObserver),
        ("vllm-router", "metrics", MetricsObserver),
        ("toy-proxy", "headers", HeaderObserver),
    ],
)
def test_the_observer_is_the_one_that_the_service_knows_or_that_is_asked_for(
    service: str, observe: str, kind: type[Observer]
) -> None:
    environment = Environment.model_validate(
        {
            "name": "made up",
            "model": {"path": "m", "dtype": "float32", "block_size": 16, "max_model_len": 64},
            "connector": {"contract": ["nixl"]},
            "members": {"proxy": {"role": "proxy", "service": service}},
            "routing": {"observe": observe},
        },
        strict=False,
    )
    assert type(observer_for(environment, {})) is kind
