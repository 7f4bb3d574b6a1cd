from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from .conftest import Deployment, Workshop
from .doubles import DONE, PATIENCE_S, Behaviour, Exchange, answers, dies, event, never, prefills, streams

BODY = {"model": "m", "prompt": "p", "max_tokens": 9, "stream": True}
LAYERWISE: dict[str, Any] = {"contract": ("ascend-layerwise",)}
REPORT = {
    "token_ids": [],
    "do_remote_prefill": False,
    "do_remote_decode": True,
    "remote_block_ids": [[4, 5]],
    "remote_engine_id": "engine-d",
    "remote_host": "127.0.0.1",
    "remote_port": 7000,
    "remote_cached_tokens": 0,
}


def reports(then: Behaviour, *, suffix: str = "-0", early: bool = False) -> Behaviour:
    """A decode that reports its blocks and goes on once that was answered."""

    async def behave(exchange: Exchange) -> None:
        params = exchange.seen.body["kv_transfer_params"]
        chat = "messages" in exchange.seen.body
        name = exchange.seen.headers["x-request-id"]
        named = f"chatcmpl-{name}" if chat else f"cmpl-{name}{suffix}"
        if early:
            await exchange.begin(content_type="text/event-stream")
        async with (
            aiohttp.ClientSession() as session,
            session.post(params["metaserver"], json={**REPORT, "request_id": named}) as answer,
        ):
            status = answer.status
        if status != 200:
            await exchange.answer(500, {"error": f"the metaserver said {status}"})
        elif early:
            await exchange.chunk(event("a"))
            await exchange.end()
        else:
            await then(exchange)

    return behave


async def test_decode_goes_first_and_prefill_gets_what_it_reports(workshop: Workshop) -> None:
    order: list[str] = []

    async def decode(exchange: Exchange) -> None:
        order.append("decode")
        await reports(streams("a"))(exchange)

    async def prefill(exchange: Exchange) -> None:
        order.append("prefill")
        await prefills(None)(exchange)

    there = await workshop.deploy(prefill, decode, **LAYERWISE)
    answer = await there.post(BODY, headers={"X-Request-Id": "mine-1"})
    assert answer.content == event("a") + DONE
    assert order == ["decode", "prefill"]
    (first,), (second,) = there.decode.seen, there.prefill.seen
    assert first.body == {
        **BODY,
        "kv_transfer_params": {
            "do_remote_decode": False,
            "do_remote_prefill": True,
            "metaserver": there.url + "/v1/metaserver",
        },
    }
    assert second.body == {
        **BODY,
        "max_tokens": 1,
        "min_tokens": 1,
        "stream": False,
        "kv_transfer_params": {**REPORT, "request_id": "cmpl-mine-1-0"},
    }
    assert first.headers["x-request-id"] == second.headers["x-request-id"] == "mine-1"
    assert answer.headers["x-pdtest-prefill"] == there.prefill.address


@pytest.mark.parametrize("suffix", ["-0", "-0-1a2b3c4d"])
async def test_a_request_is_known_by_what_the_engine_makes_of_its_id(workshop: Workshop, suffix: str) -> None:
    there = await workshop.deploy(prefills(None), reports(streams("a"), suffix=suffix), **LAYERWISE)
    assert (await there.post(BODY)).status == 200


async def test_chats_too(workshop: Workshop) -> None:
    there = await workshop.deploy(prefills(None), reports(streams("a")), **LAYERWISE)
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    assert (await there.post(body, "/v1/chat/completions")).status == 200
    assert there.prefill.seen[0].path == "/v1/chat/completions"


@pytest.mark.parametrize("early", [True, False])
async def test_a_prefill_that_refuses_is_passed_on(workshop: Workshop, early: bool) -> None:
    there = await workshop.deploy(answers(400, {"error": "no"}), reports(never, early=early), **LAYERWISE)
    answer = await there.post(BODY)
    assert (answer.status, json.loads(answer.content)) == (400, {"error": "no"})


@pytest.mark.parametrize("failing", [dies, answers(500, {})])
async def test_another_prefill_takes_over_and_decode_notices_nothing(
    workshop: Workshop, failing: Behaviour
) -> None:
    there = await workshop.deploy([failing, prefills(None)], reports(streams("a")), **LAYERWISE)
    answer = await there.post(BODY)
    assert answer.content == event("a") + DONE
    assert len(there.decode.seen) == 1
    assert answer.headers["x-pdtest-prefill"] == there.prefills[1].address


async def test_when_no_prefill_is_left_decode_does_not_wait(workshop: Workshop) -> None:
    there = await workshop.deploy(dies, reports(never), **LAYERWISE)
    answer = await there.post(BODY)
    assert answer.status == 502
    assert f"prefill leg: {there.prefill.address}" in json.loads(answer.content)["error"]["message"]


async def test_decode_is_not_asked_when_there_is_no_prefill(workshop: Workshop) -> None:
    there = await workshop.deploy(prefills(None), reports(streams("a")), **LAYERWISE)
    there.proxy.pool.take_out(there.proxy.pool.usable(_side(there))[0], "for the test")
    there.prefill.health = 500
    assert (await there.post(BODY)).status == 503
    assert there.decode.seen == []


def _side(there: Deployment) -> Any:
    return next(one.side for one in there.proxy.pool if one.address == there.prefill.address)


async def test_an_answer_from_decodes_own_cache_needs_no_prefill(workshop: Workshop) -> None:
    there = await workshop.deploy(never, streams("a"), **LAYERWISE)
    answer = await there.post(BODY, headers={"X-Request-Id": "mine"})
    assert answer.content == event("a") + DONE
    assert "x-pdtest-prefill" not in answer.headers
    assert there.prefill.seen == []
    # It is over: the id can be used again.
    assert (await there.post(BODY, headers={"X-Request-Id": "mine"})).status == 200


async def test_a_client_that_leaves_aborts_both(workshop: Workshop) -> None:
    there = await workshop.deploy(never, reports(never), **LAYERWISE)
    request = asyncio.create_task(there.post(BODY))
    async with asyncio.timeout(PATIENCE_S):
        await there.prefill.arrived.wait()
        request.cancel()
        await there.prefill.left.wait()
        await there.decode.left.wait()


async def test_an_id_that_is_under_way_is_refused(workshop: Workshop) -> None:
    there = await workshop.deploy(never, never, **LAYERWISE)
    first = asyncio.create_task(there.post(BODY, headers={"X-Request-Id": "same"}))
    await there.decode.arrived.wait()
    answer = await there.post(BODY, headers={"X-Request-Id": "same"})
    assert answer.status == 409
    first.cancel()


async def test_several_prompts_need_several_requests(workshop: Workshop) -> None:
    there = await workshop.deploy(prefills(None), reports(streams("a")), **LAYERWISE)
    assert (await there.post({**BODY, "prompt": ["a", "b"]})).status == 400
    assert (await there.post({**BODY, "prompt": [[1], [2]]})).status == 400
    assert (await there.post({**BODY, "prompt": ["a"]})).status == 200
    assert (await there.post({**BODY, "prompt": [1, 2]})).status == 200


@pytest.mark.parametrize("report", [{}, {"request_id": 7}, {"request_id": "cmpl-nobody-0"}])
async def test_reports_that_nobody_waits_for_are_a_404(workshop: Workshop, report: dict[str, Any]) -> None:
    there = await workshop.deploy(**LAYERWISE)
    answer = await there.post(report, "/v1/metaserver")
    assert answer.status == 404
    assert there.prefill.seen == []
