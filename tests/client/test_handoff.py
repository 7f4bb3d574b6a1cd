from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pdtest.client.errors import HttpStatusError
from pdtest.client.handoff import Ending, HandoffRunner, Route
from pdtest.client.request import Request
from pdtest.events import HandoffFinished, from_json
from pdtest.wire.contract import Leg
from pdtest.wire.example import ExampleContract
from pdtest.wire.nixl import NixlContract
from pdtest.wire.tamper import TamperImpossible

REQUEST = Request.tokens([70, 293, 12, 44], max_tokens=9, min_tokens=3, stream=True, n=2)
NIXL = NixlContract()
Connect = Callable[..., Any]


@pytest.fixture
def runner(connect: Connect, events: list[Any]) -> Callable[..., Any]:
    def make(prefill: str = "good", decode: str = "good", **settings: Any) -> HandoffRunner:
        return HandoffRunner(
            **{"contract": NIXL, "on_event": events.append, "test": "suite::test", **settings},
            prefill=connect(prefill, name="prefill"),
            decode=connect(decode, name="decode"),
        )

    return make


Make = Callable[..., Any]


async def test_client_carries_the_params_from_leg_to_leg(runner: Make, double: Any) -> None:
    handoff = await runner().run(REQUEST, request_id="mine")
    (_, first_headers, first), (_, second_headers, second) = double.seen
    assert first_headers["x-request-id"] == second_headers["x-request-id"] == "mine"
    assert (first["max_tokens"], first["stream"]) == (1, False)
    assert "min_tokens" not in first
    assert first["kv_transfer_params"] == NIXL.params_for_prefill()
    assert second == {**REQUEST.body("tiny"), "kv_transfer_params": handoff.prefill.answered}
    assert second["kv_transfer_params"]["remote_block_ids"] == [[1, 2]]


async def test_everything_is_recorded(runner: Make) -> None:
    handoff = await runner().run(REQUEST)
    prefill, decode = handoff.prefill, handoff.decode
    assert prefill is not None
    assert decode is not None
    assert (handoff.ending, handoff.route, handoff.contract) == (Ending.ANSWERED, Route.CLIENT, "nixl")
    assert (prefill.member, decode.member) == ("prefill", "decode")
    assert 0 <= prefill.started_s < prefill.ended_s <= decode.started_s < decode.ended_s
    assert decode.sent == prefill.answered
    assert handoff.require() is decode.answer
    assert [review.leg for review in handoff.reviews] == list(Leg)
    assert handoff.breaches == ()


async def test_event_survives_the_journal(runner: Make, events: list[Any]) -> None:
    handoff = await runner().run(REQUEST, request_id="mine")
    finished = from_json(json.loads(json.dumps(events[-1].to_json())))
    assert isinstance(finished, HandoffFinished)
    assert finished == events[-1]
    assert (finished.request_id, finished.test, finished.outcome) == ("mine", "suite::test", "answered")
    assert (finished.prompt_tokens, finished.completion_tokens) == (4, 4)
    assert finished.prefill is not None
    assert finished.decode is not None
    assert finished.prefill.answered == finished.decode.sent == handoff.prefill.answered
    assert finished.decode.first_token_s is not None
    assert finished.decode.started_s < finished.decode.first_token_s < finished.total_s
    assert finished.proxy is None


async def test_prefill_fails(runner: Make, double: Any, events: list[Any]) -> None:
    handoff = await runner(prefill="status-500").run(REQUEST)
    assert handoff.ending is Ending.PREFILL_FAILED
    assert handoff.decode is None
    assert len(double.seen) == 1
    with pytest.raises(HttpStatusError):
        handoff.require()
    assert events[-1].error is not None
    assert events[-1].prefill.error == "HttpStatusError"


async def test_decode_fails(runner: Make, events: list[Any]) -> None:
    handoff = await runner(decode="status-500").run(REQUEST)
    assert handoff.ending is Ending.DECODE_FAILED
    assert handoff.answer is None
    assert isinstance(handoff.error, HttpStatusError)
    assert events[-1].outcome == "decode failed"


async def test_prefill_that_answers_no_params_is_a_breach(runner: Make, double: Any) -> None:
    handoff = await runner(prefill="no-params").run(REQUEST)
    assert [(breach.leg, breach.field) for breach in handoff.breaches] == [
        (Leg.FROM_PREFILL, "kv_transfer_params"),
        (Leg.TO_DECODE, "kv_transfer_params"),
    ]
    assert "kv_transfer_params" not in double.seen[1][2]
    assert handoff.ending is Ending.ANSWERED


async def test_tampered_params_go_to_decode(runner: Make, double: Any, events: list[Any]) -> None:
    handoff = await runner().run(REQUEST, tamper=lambda params: {**params, "remote_port": 0})
    assert double.seen[1][2]["kv_transfer_params"]["remote_port"] == 0
    assert handoff.prefill.answered["remote_port"] == 15600
    assert [breach.field for breach in handoff.breaches] == ["remote_port"]
    assert handoff.tampered
    assert events[-1].tampered


async def test_tamper_that_sends_nothing(runner: Make, double: Any) -> None:
    await runner().run(REQUEST, tamper=lambda _params: None)
    assert "kv_transfer_params" not in double.seen[1][2]


async def test_tamper_that_is_impossible_is_raised_and_recorded(runner: Make, events: list[Any]) -> None:
    def tamper(params: Mapping[str, Any]) -> dict[str, Any] | None:
        return NIXL.tampered("foreign-blocks", params, {})

    with pytest.raises(TamperImpossible):
        await runner().run(REQUEST, tamper=tamper)
    assert isinstance(events[-1], HandoffFinished)
    assert (events[-1].outcome, events[-1].decode) == ("abandoned", None)


async def test_contract_without_params(runner: Make, double: Any) -> None:
    handoff = await runner(contract=ExampleContract()).run(REQUEST)
    assert handoff.ending is Ending.ANSWERED
    assert not any("kv_transfer_params" in body for _, _, body in double.seen)


async def test_through_a_proxy(connect: Connect, double: Any, events: list[Any]) -> None:
    runner = HandoffRunner(contract=NIXL, proxy=connect(name="proxy"), on_event=events.append)
    handoff = await runner.run(REQUEST)
    assert handoff.route is Route.PROXY
    assert [body for _, _, body in double.seen] == [REQUEST.body("tiny")]
    assert handoff.proxy is not None
    assert handoff.answer is handoff.proxy.answer
    assert handoff.reviews == ()
    assert events[-1].proxy.member == "proxy"


async def test_proxy_fails(connect: Connect) -> None:
    runner = HandoffRunner(contract=NIXL, proxy=connect("status-500"))
    assert (await runner.run(REQUEST)).ending is Ending.PROXY_FAILED


async def test_route_can_be_chosen(runner: Make, connect: Connect) -> None:
    both = runner()
    both = HandoffRunner(contract=NIXL, prefill=both.prefill, decode=both.decode, proxy=connect())
    assert (await both.run(REQUEST)).route is Route.PROXY
    assert (await both.run(REQUEST, route=Route.CLIENT)).route is Route.CLIENT
    with pytest.raises(ValueError, match="behind a proxy"):
        await both.run(REQUEST, tamper=lambda _params: None)


async def test_missing_member_is_named(connect: Connect) -> None:
    with pytest.raises(ValueError, match="no decode member"):
        await HandoffRunner(contract=NIXL, prefill=connect()).run(REQUEST, route=Route.CLIENT)


async def test_walking_away_during_decode_is_recorded(runner: Make, events: list[Any]) -> None:
    task = asyncio.create_task(runner(decode="stalls").run(REQUEST))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    finished = events[-1]
    assert (finished.outcome, finished.decode) == ("abandoned", None)
    assert finished.prefill.answered is not None
