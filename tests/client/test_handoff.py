from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from pdtest.client.errors import HttpStatusError, MalformedAnswer
from pdtest.client.handoff import Ending, HandoffRunner, Route, first_route
from pdtest.client.request import Request
from pdtest.events import HandoffFinished, from_json
from pdtest.wire.ascend_layerwise import AscendLayerwiseContract
from pdtest.wire.contract import Leg
from pdtest.wire.example import ExampleContract
from pdtest.wire.mooncake import MooncakeContract
from pdtest.wire.nixl import NixlContract
from pdtest.wire.p2p_nccl import P2pNcclContract
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


MOONCAKE = MooncakeContract()


@pytest.fixture
def mooncake(connect: Connect, double: Any, events: list[Any]) -> Make:
    """A runner whose prefill introduces itself at a path of the double."""

    def make(prefill: str = "good", decode: str = "good", said: str = "introduction") -> HandoffRunner:
        introduction = replace(MOONCAKE.introduction, path=f"/{prefill}/{said}")
        contract = MooncakeContract()
        contract.introduction = introduction
        port = urlsplit(double.url).port
        return HandoffRunner(
            contract=contract,
            prefill=connect(prefill, name="prefill", ports={"bootstrap": port}),
            decode=connect(decode, name="decode"),
            on_event=events.append,
        )

    return make


async def test_legs_that_go_together_share_an_id_and_decode_is_told_who_has_the_blocks(
    mooncake: Make, double: Any
) -> None:
    handoff = await mooncake().run(REQUEST, request_id="mine")
    assert handoff.ending is Ending.ANSWERED
    bodies = {body["max_tokens"]: body["kv_transfer_params"] for _, _, body in double.seen}
    to_prefill, to_decode = bodies[1], bodies[9]
    assert to_decode == {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "transfer_id": to_prefill["transfer_id"],
        "remote_engine_id": "engine-0",
        "remote_bootstrap_addr": double.url,
    }
    assert [body["min_tokens"] for _, _, body in double.seen if body["max_tokens"] == 1] == [1]
    assert {headers["x-request-id"] for _, headers, _ in double.seen} == {"mine"}
    assert [review.leg for review in handoff.reviews] == list(Leg)
    assert handoff.breaches == ()
    assert handoff.decode.started_s < handoff.prefill.ended_s


async def test_decode_is_called_off_when_prefill_fails_beside_it(mooncake: Make, events: list[Any]) -> None:
    handoff = await asyncio.wait_for(mooncake(prefill="status-500", decode="stalls").run(REQUEST), 4.0)
    assert handoff.ending is Ending.PREFILL_FAILED
    assert isinstance(handoff.error, HttpStatusError)
    assert handoff.decode is None


@pytest.mark.parametrize(("said", "error"), [("nothing", HttpStatusError), ("health", MalformedAnswer)])
async def test_prefill_that_does_not_introduce_itself_has_failed(
    mooncake: Make, double: Any, said: str, error: type[Exception]
) -> None:
    handoff = await mooncake(said=said).run(REQUEST)
    assert handoff.ending is Ending.PREFILL_FAILED
    assert double.seen == []
    with pytest.raises(error):
        handoff.require()


async def test_params_of_legs_that_go_together_are_tampered_with(mooncake: Make) -> None:
    handoff = await mooncake().run(REQUEST, tamper=lambda params: {**params, "transfer_id": "another"})
    assert handoff.decode.sent["transfer_id"] == "another"
    assert handoff.prefill.sent["transfer_id"] != "another"


async def test_addresses_in_the_request_id(connect: Connect, double: Any) -> None:
    runner = HandoffRunner(
        contract=P2pNcclContract(),
        prefill=connect(name="prefill", ports={"p2p": 1111}),
        decode=connect(name="decode", ports={"p2p": 2222}),
    )
    handoff = await runner.run(REQUEST, request_id="mine")
    assert handoff.request_id.startswith("___prefill_addr_127.0.0.1:1111___decode_addr_127.0.0.1:2222_")
    assert {headers["x-request-id"] for _, headers, _ in double.seen} == {handoff.request_id}


async def test_what_only_a_proxy_can_lead_is_refused_with_the_reason(runner: Make, double: Any) -> None:
    contract = AscendLayerwiseContract()
    with pytest.raises(ValueError, match="metaserver"):
        await runner(contract=contract).run(REQUEST)
    assert double.seen == []
    assert (first_route(contract), first_route(NIXL)) == (Route.PROXY, Route.CLIENT)


async def test_prefill_only_gives_what_decode_would_be_told(
    runner: Make, mooncake: Make, double: Any
) -> None:
    held = await runner().prefill_only(REQUEST)
    assert held["remote_block_ids"] == [[1, 2]]
    waiting = await mooncake().prefill_only(REQUEST)
    assert waiting["transfer_id"] == double.seen[-1][2]["kv_transfer_params"]["transfer_id"]
    assert waiting["remote_engine_id"] == "engine-0"
    assert [body["max_tokens"] for _, _, body in double.seen] == [1, 1]
