"""Requests that take different ways, by their lengths."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pdtest.embedded.proxy.contracts.registry import CONTRACTS
from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.path import Path
from pdtest.embedded.proxy.routing.settings import RoutingSettings
from pdtest.embedded.proxy.routing.threshold import Threshold

from .conftest import Answer, Deployment, Workshop
from .doubles import PARAMS, Engine, answers, dies, never, prefills, streams

ROUTING = RoutingSettings(phase="threshold", input_threshold=8, ratio=4.0)
#: Prompt and answer, tokens: long and one-sided, neither, and one of the two.
BY_PATH = {
    Path.PREFILL: [(8, 2), (80, 20), (8, 1)],
    Path.DECODE: [(7, 2), (1, 1), (1, 100)],
    Path.HYBRID: [(8, 3), (80, 21), (7, 1), (4, 1)],
}
CASES = [(prompt, answer, path) for path, every in BY_PATH.items() for prompt, answer in every]


def body(prompt: int, answer: int, **more: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": [1] * prompt, "max_tokens": answer, **more}


def served(answer: Answer) -> tuple[str, str, str]:
    return tuple(answer.headers[f"x-pdtest-{name}"] for name in ("path", "prefill", "decode"))  # type: ignore[return-value]


async def deployed(workshop: Workshop, **others: Any) -> Deployment:
    settings: dict[str, Any] = {"hybrid": streams("h"), "routing": ROUTING} | others
    return await workshop.deploy(**settings)


@pytest.mark.parametrize("stream", [False, True])
async def test_lengths_decide_the_way_and_the_answer_names_it(workshop: Workshop, stream: bool) -> None:
    there = await deployed(workshop)
    instances = {
        Path.PREFILL: (there.prefill.address, there.decode.address),
        Path.DECODE: (there.decode.address,) * 2,
        Path.HYBRID: (there.hybrid.address,) * 2,
    }
    for prompt, answer, path in CASES:
        got = await there.post(body(prompt, answer, stream=stream))
        assert got.status == 200
        assert served(got) == (path, *instances[path]), (prompt, answer)
    counts = [len(engine.seen) for engine in (there.prefill, there.decode, there.hybrid)]
    assert counts == [3, 6, 4]
    assert await routed(there) == {"prefill": 3, "decode": 3, "hybrid": 4}


async def routed(there: Deployment) -> dict[str, float]:
    async with there.client.get(there.url + "/metrics") as answer:
        families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
    assert families["pdtest_proxy_input_threshold_tokens"].samples[0].value == 8
    decisions = {
        one.name.rpartition("_")[2]: one.value for one in families["pdtest_proxy_decision_seconds"].samples
    }
    counts = {one.labels["path"]: one.value for one in families["pdtest_proxy_routed"].samples}
    assert decisions["count"] == decisions["bucket"] == sum(counts.values())
    assert 0 < decisions["sum"] < 1
    return counts


@given(
    prompt=st.integers(0, 5000),
    answer=st.integers(1, 5000),
    threshold=st.integers(1, 5000),
    tenths=st.integers(1, 200),
)
def test_it_is_as_the_two_questions_are_answered(
    prompt: int, answer: int, threshold: int, tenths: int
) -> None:
    """Ratios of decimals are exact at their boundary: 3 to 30 is 0.1."""
    rule = Threshold(input_threshold=threshold, ratio=tenths / 10)
    request = ClientRequest(
        path="", body={"max_tokens": answer, "prompt": []}, request_id="", prompt_tokens=prompt
    )
    yes = (prompt >= threshold) + (prompt * 10 >= tenths * answer)
    assert rule.path(request) == (Path.DECODE, Path.HYBRID, Path.PREFILL)[yes]


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ({"prompt": "p"}, 16),
        ({"prompt": "p", "max_tokens": 3}, 3),
        ({"prompt": "p", "max_tokens": None, "max_completion_tokens": 5}, 16),
        ({"prompt": "p", "max_tokens": 0}, 1),
        ({"prompt": "p", "max_tokens": "many"}, math.inf),
        ({"messages": []}, math.inf),
        ({"messages": [], "max_tokens": 3}, 3),
        ({"messages": [], "max_tokens": 3, "max_completion_tokens": 4}, 4),
    ],
)
def test_how_long_an_answer_may_become(said: dict[str, Any], most: float) -> None:
    assert ClientRequest(path="", body=said, request_id="").most_tokens == most


@pytest.mark.parametrize("contract", sorted(set(CONTRACTS) - {"p2p-nccl"}))
@pytest.mark.parametrize("path", [Path.DECODE, Path.HYBRID])
async def test_who_does_it_alone_is_told_nothing(workshop: Workshop, contract: str, path: Path) -> None:
    there = await deployed(workshop, contract=(contract,))
    (prompt, answer), *_ = BY_PATH[path]
    asked = body(prompt, answer, min_tokens=1, stream=True)
    sent = {**asked, "kv_transfer_params": {"left": "over"}}
    got = await there.post(sent, headers={"X-Request-Id": "mine"})
    engine = there.decode if path is Path.DECODE else there.hybrid
    assert served(got) == (path, engine.address, engine.address)
    assert engine.bodies == [asked]
    assert engine.seen[0].headers["x-request-id"] == got.headers["x-request-id"] == "mine"
    assert there.prefill.seen == []


async def test_without_hybrids_their_requests_are_handed_over(workshop: Workshop) -> None:
    there = await workshop.deploy(routing=ROUTING)
    got = await there.post(body(8, 3))
    assert served(got) == (Path.PREFILL, there.prefill.address, there.decode.address)
    assert there.decode.bodies[0]["kv_transfer_params"] == PARAMS


async def test_without_a_rule_everything_is_handed_over(workshop: Workshop) -> None:
    there = await deployed(workshop, routing=RoutingSettings())
    for prompt, answer, _ in CASES:
        assert served(await there.post(body(prompt, answer)))[0] == Path.PREFILL
    assert there.hybrid.seen == []


async def test_hybrids_do_what_nobody_else_can(workshop: Workshop) -> None:
    there = await deployed(workshop)
    for engine in (there.prefill, there.decode):
        await engine.stop()
    statuses = []
    for prompt, answer in (BY_PATH[Path.PREFILL][0], BY_PATH[Path.DECODE][0]) * 2:
        got = await there.post(body(prompt, answer))
        statuses.append(got.status)
    assert statuses == [503, 200, 200, 200]  # the first finds out that prefill is gone
    assert len(there.hybrid.seen) == 3


@pytest.mark.parametrize("lost", ["stopped", "dies"])
async def test_a_hybrid_that_fails_is_replaced_by_another(workshop: Workshop, lost: str) -> None:
    there = await deployed(workshop, hybrid=[dies if lost == "dies" else never, streams("h")])
    if lost == "stopped":
        await there.hybrid.stop()
    got = await there.post(body(8, 3))
    assert (got.status, served(got)) == (200, (Path.HYBRID, *[there.hybrids[1].address] * 2))


async def test_where_all_hybrids_fail_it_is_handed_over(workshop: Workshop) -> None:
    there = await deployed(workshop)
    await there.hybrid.stop()
    for _ in range(2):
        got = await there.post(body(8, 3))
        assert served(got) == (Path.PREFILL, there.prefill.address, there.decode.address)
    assert await routed(there) == {"prefill": 2, "decode": 0, "hybrid": 0}


async def test_what_one_alone_refuses_is_passed_on(workshop: Workshop) -> None:
    there = await deployed(workshop, hybrid=[answers(500, {"error": "boom"}), streams("h")])
    assert ((await there.post(body(8, 3))).status, there.hybrids[1].seen) == (500, [])


async def test_a_request_that_brings_down_its_hybrids_is_given_up(workshop: Workshop) -> None:
    there = await deployed(workshop, hybrid=[dies] * 4)
    got = await there.post(body(8, 3))
    assert got.status == 502
    assert "hybrid leg" in json.loads(got.content)["error"]["message"]
    assert sum(len(engine.seen) for engine in there.hybrids) == 3


async def test_a_client_that_leaves_ends_it(workshop: Workshop) -> None:
    there = await deployed(workshop, hybrid=never)
    request = asyncio.create_task(there.post(body(8, 3)))
    await there.hybrid.arrived.wait()
    request.cancel()
    await asyncio.wait_for(there.hybrid.left.wait(), 5)
    _, stats = await there.get("/stats")
    assert [stats["hybrid_instances"][0][name] for name in ("aborted", "in_flight")] == [1, 0]


async def test_hybrids_can_be_added_and_removed(workshop: Workshop) -> None:
    there = await workshop.deploy(routing=ROUTING)
    more: Engine = await workshop.engine(streams("h"))
    named = {"type": "hybrid", "instances": [more.address]}
    listed = json.loads((await there.post(named, "/instances/add")).content)
    assert listed["hybrid_instances"] == [more.address]
    await there.until_in(1, 1, 1)
    assert served(await there.post(body(8, 3)))[0] == Path.HYBRID
    listed = json.loads((await there.post(named, "/instances/remove")).content)
    assert listed["hybrid_instances"] == []
    assert served(await there.post(body(8, 3)))[0] == Path.PREFILL


async def test_hybrids_alone_can_serve(workshop: Workshop) -> None:
    there = await workshop.deploy(prefill=[prefills()], hybrid=[streams("h")], lists=False, routing=ROUTING)
    assert (await there.get("/health"))[0] == 503
    await there.post({"type": "hybrid", "instances": [there.hybrid.address]}, "/instances/add")
    await there.until_in(0, 0, 1)
    assert (await there.get("/health"))[0] == 200
    for prompt, answer, _ in CASES:
        assert served(await there.post(body(prompt, answer)))[0] == Path.HYBRID


async def test_where_ids_name_both_there_are_no_hybrids(workshop: Workshop) -> None:
    there = await workshop.deploy(contract=("p2p-nccl",), lists=False, routing=RoutingSettings())
    got = await there.post({"type": "hybrid", "instances": ["h:1"]}, "/instances/add")
    assert (got.status, b"p2p-nccl has no hybrid" in got.content) == (400, True)
