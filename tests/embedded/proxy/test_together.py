from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pdtest.embedded.proxy.instances import Side

from .conftest import Workshop
from .doubles import (
    DONE,
    PATIENCE_S,
    Behaviour,
    Engine,
    Exchange,
    answers,
    dies,
    event,
    never,
    prefills,
    streams,
    until,
)

BODY = {"model": "m", "prompt": "p", "max_tokens": 9, "stream": True}
MOONCAKE: dict[str, Any] = {"contract": ("mooncake",)}


def _introduce(engine: Engine, *engine_ids: str) -> None:
    engine.others["/query"] = {
        str(rank): {"engine_id": one, "worker_addr": {"0": {"0": "tcp://127.0.0.1:1"}}}
        for rank, one in enumerate(engine_ids)
    }


def _posts(engine: Engine) -> list[Any]:
    return [seen for seen in engine.seen if seen.method == "POST"]


def _queries(engine: Engine) -> int:
    return len([seen for seen in engine.seen if seen.path == "/query"])


async def test_both_legs_go_at_once_under_one_transfer_id(workshop: Workshop) -> None:
    meeting = asyncio.Barrier(2)

    def meets(behave: Behaviour) -> Behaviour:
        async def behaviour(exchange: Exchange) -> None:
            await meeting.wait()  # neither goes on without the other
            await behave(exchange)

        return behaviour

    there = await workshop.deploy(meets(prefills(None)), meets(streams("a")), **MOONCAKE)
    _introduce(there.prefill, "engine-p")
    answer = await there.post(BODY, headers={"X-Request-Id": "mine"})
    assert answer.content == event("a") + DONE
    (first,), (second,) = _posts(there.prefill), _posts(there.decode)
    transfer_id = first.body["kv_transfer_params"]["transfer_id"]
    assert transfer_id.startswith("xfer-")
    assert first.body == {
        **BODY,
        "max_tokens": 1,
        "min_tokens": 1,
        "stream": False,
        "kv_transfer_params": {
            "do_remote_decode": True,
            "do_remote_prefill": False,
            "transfer_id": transfer_id,
        },
    }
    assert second.body == {
        **BODY,
        "kv_transfer_params": {
            "do_remote_decode": False,
            "do_remote_prefill": True,
            "transfer_id": transfer_id,
            "remote_bootstrap_addr": f"http://{there.prefill.address}",
            "remote_engine_id": "engine-p",
        },
    }
    assert first.headers["x-request-id"] == second.headers["x-request-id"] == "mine"
    assert first.headers["x-data-parallel-rank"] == "0"
    assert "x-data-parallel-rank" not in second.headers
    assert answer.headers["x-pdtest-prefill"] == there.prefill.address


async def test_ranks_take_turns_and_the_bootstrap_is_not_asked_each_time(workshop: Workshop) -> None:
    there = await workshop.deploy(prefills(None), **MOONCAKE)
    _introduce(there.prefill, "rank-0", "rank-1", "rank-2")
    for _ in range(4):
        await there.post(BODY)
    ranks = [seen.headers["x-data-parallel-rank"] for seen in _posts(there.prefill)]
    ids = [seen.body["kv_transfer_params"]["remote_engine_id"] for seen in _posts(there.decode)]
    assert ranks == ["0", "1", "2", "0"]
    assert ids == [f"rank-{rank}" for rank in ranks]
    assert _queries(there.prefill) < 4
    transfers = {seen.body["kv_transfer_params"]["transfer_id"] for seen in _posts(there.prefill)}
    assert len(transfers) == 4


async def test_turns_go_on_when_the_bootstrap_is_asked_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pdtest.embedded.proxy.contracts.mooncake._FRESH_S", 0.0)
    there = await workshop.deploy(prefills(None), **MOONCAKE)
    _introduce(there.prefill, "rank-0", "rank-1")
    for _ in range(4):
        await there.post(BODY)
    assert _queries(there.prefill) == 4
    ranks = [seen.headers["x-data-parallel-rank"] for seen in _posts(there.prefill)]
    assert ranks == ["0", "1", "0", "1"]


async def test_a_failed_request_makes_the_proxy_ask_again(workshop: Workshop) -> None:
    """A prefill that was started again has another engine id."""
    there = await workshop.deploy(prefills(None), **MOONCAKE)
    _introduce(there.prefill, "before")
    await there.post(BODY)
    _introduce(there.prefill, "after")
    there.decode.behaviour = answers(500, {"error": "engine id not found"})
    assert (await there.post(BODY)).status == 500
    there.decode.behaviour = streams("a")
    assert (await there.post(BODY)).status == 200
    ids = [seen.body["kv_transfer_params"]["remote_engine_id"] for seen in _posts(there.decode)]
    assert ids == ["before", "before", "after"]


@pytest.mark.parametrize("said", [{}, [], {"0": {}}, {"x": {"engine_id": "e"}}])
async def test_a_strange_bootstrap_is_a_502(workshop: Workshop, said: Any) -> None:
    there = await workshop.deploy(prefills(None), **MOONCAKE)
    there.prefill.others["/query"] = said
    answer = await there.post(BODY)
    assert answer.status == 502
    assert "/query" in json.loads(answer.content)["error"]["message"]
    assert _posts(there.decode) == []


async def test_a_prefill_without_bootstrap_is_passed_over(workshop: Workshop) -> None:
    there = await workshop.deploy([prefills(None), prefills(None)], **MOONCAKE)
    _introduce(there.prefills[1], "second")
    answer = await there.post(BODY)
    assert answer.status == 200
    assert answer.headers["x-pdtest-prefill"] == there.prefills[1].address


async def test_a_prefill_that_refuses_ends_decodes_wait(workshop: Workshop) -> None:
    there = await workshop.deploy(answers(400, {"error": "too long"}), never, **MOONCAKE)
    _introduce(there.prefill, "engine-p")
    answer = await there.post(BODY)
    assert (answer.status, json.loads(answer.content)) == (400, {"error": "too long"})
    await asyncio.wait_for(there.decode.left.wait(), PATIENCE_S)


async def test_a_status_of_200_without_kv_does_not_hide_a_prefill_that_fails(workshop: Workshop) -> None:
    """A streaming engine says 200 before it has any KV; the client still gets the error, as a status."""
    begun = asyncio.Event()

    async def waits_for_kv(exchange: Exchange) -> None:
        await exchange.begin(content_type="text/event-stream")
        begun.set()
        await asyncio.Event().wait()

    async def fails(exchange: Exchange) -> None:
        await begun.wait()
        await asyncio.sleep(0.05)
        await exchange.answer(400, {"error": "no"})

    there = await workshop.deploy(fails, waits_for_kv, **MOONCAKE)
    _introduce(there.prefill, "engine-p")
    assert (await there.post(BODY)).status == 400
    await asyncio.wait_for(there.decode.left.wait(), PATIENCE_S)


@pytest.mark.parametrize("failing", [dies, answers(500, {})])
async def test_another_prefill_takes_over_under_another_transfer_id(
    workshop: Workshop, failing: Behaviour
) -> None:
    calls = 0

    async def waits_once(exchange: Exchange) -> None:
        nonlocal calls
        calls += 1
        await (never if calls == 1 else streams("a"))(exchange)

    there = await workshop.deploy([failing, prefills(None)], waits_once, **MOONCAKE)
    for number, engine in enumerate(there.prefills):
        _introduce(engine, f"engine-{number}")
    answer = await there.post(BODY)
    assert answer.content == event("a") + DONE
    first, second = (seen.body["kv_transfer_params"] for seen in _posts(there.decode))
    assert (first["remote_engine_id"], second["remote_engine_id"]) == ("engine-0", "engine-1")
    assert first["transfer_id"] != second["transfer_id"]
    assert there.decode.gone == 1


async def test_an_error_of_decode_is_passed_on_and_ends_prefill(workshop: Workshop) -> None:
    there = await workshop.deploy(never, answers(500, b"boom", "text/plain"), **MOONCAKE)
    _introduce(there.prefill, "engine-p")
    answer = await there.post(BODY)
    assert (answer.status, answer.content) == (500, b"boom")
    await asyncio.wait_for(there.prefill.left.wait(), PATIENCE_S)


async def test_decode_that_cannot_be_reached_is_replaced_while_prefill_goes_on(workshop: Workshop) -> None:
    there = await workshop.deploy(prefills(None), [streams("a"), streams("a")], **MOONCAKE)
    _introduce(there.prefill, "engine-p")
    await there.decode.stop()
    answer = await there.post(BODY)
    assert answer.headers["x-pdtest-decode"] == there.decodes[1].address
    assert len(_posts(there.prefill)) == 1


async def test_prefill_is_given_up_when_no_decode_is_left(workshop: Workshop) -> None:
    there = await workshop.deploy(never, **MOONCAKE)
    _introduce(there.prefill, "engine-p")
    await there.decode.stop()
    assert (await there.post(BODY)).status == 503
    _, stats = await there.get("/stats")
    assert stats["prefill_instances"][0]["in_flight"] == 0


async def test_an_answer_from_decodes_own_cache_does_not_wait_for_prefill(workshop: Workshop) -> None:
    release = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await release.wait()
        await prefills(None)(exchange)

    there = await workshop.deploy(slow, streams("a"), **MOONCAKE)
    _introduce(there.prefill, "engine-p")
    answer = await there.post(BODY)
    assert answer.content == event("a") + DONE
    assert there.prefill.gone == 0
    release.set()  # and prefill is left to finish what it holds
    (instance,) = there.proxy.pool.of(Side.PREFILL)
    await until(lambda: instance.done)


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_client_that_leaves_aborts_both(workshop: Workshop, streaming: bool) -> None:
    async def begun(exchange: Exchange) -> None:
        if streaming:
            await exchange.begin(content_type="text/event-stream")
        await never(exchange)

    there = await workshop.deploy(never, begun, **MOONCAKE)
    _introduce(there.prefill, "engine-p")
    request = asyncio.create_task(there.post({**BODY, "stream": streaming}))
    await until(lambda: _posts(there.prefill) and _posts(there.decode))
    request.cancel()
    async with asyncio.timeout(PATIENCE_S):
        await there.prefill.left.wait()
        await there.decode.left.wait()
    _, stats = await there.get("/stats")
    for side in ("prefill_instances", "decode_instances"):
        assert (stats[side][0]["in_flight"], stats[side][0]["aborted"]) == (0, 1)
