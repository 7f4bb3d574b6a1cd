from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pdtest.client.handoff import Ending, Handoff, Route
from pdtest.client.request import Request
from pdtest.environment.schema import Role
from pdtest.events import HandoffFinished
from pdtest.events.record import Event
from pdtest.oracle.evidence import settled
from pdtest.oracle.handoffs import Handoffs
from pdtest.wire.registry import contract_for

from .fakes import BLOCK_BYTES, PROMPT, ZERO, FakeEngine, Model, engines, environment_of, failed, handoff_of

REQUEST = Request.tokens(PROMPT, max_tokens=4)
OTHER = Request.tokens((*PROMPT, 17, 18), max_tokens=4)


def counting(engine: FakeEngine, request: Request) -> None:
    """What a decode engine counts for a prompt that it fetched."""
    now, tokens = engine.current, request.prompt_tokens or 0
    engine.now({**now, "moved": now["moved"] + tokens, "bytes": now["bytes"] + -(-tokens // 4) * BLOCK_BYTES})


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def witnessed() -> list[Handoff]:
    return []


Make = Callable[..., Handoffs]


@pytest.fixture
def make(events: list[Event], witnessed: list[Handoff]) -> Make:
    def make(*members: FakeEngine, proxy: FakeEngine | None = None, **settings: Any) -> Handoffs:
        environment = environment_of(settings.pop("contract", ("nixl",)))
        return Handoffs(
            environment=environment,
            contract=contract_for(environment.connector.contract),
            engines=engines(*members),
            roles={fake.name: Role(fake.name.split("-")[0]) for fake in members},
            proxy=proxy.endpoint if proxy else None,
            block_bytes=BLOCK_BYTES,
            witness=witnessed.append,
            on_event=events.append,
            test="suite::test",
        )

    return make


async def test_a_volley_has_its_handoffs_and_exact_counters(
    make: Make, events: list[Event], witnessed: list[Handoff]
) -> None:
    prefill = FakeEngine("prefill", counts=({},))
    handoffs = make(prefill, FakeEngine("decode", on_generate=counting))
    volley = await handoffs(REQUEST, OTHER)
    assert [handoff.request for handoff in volley.handoffs] == [REQUEST, OTHER]
    assert volley.claim.demand.transferred == 14
    assert volley.claim.demand.blocks == 4
    assert settled(volley.window, volley.claim)
    assert {handoff.request_id for handoff in witnessed} == {h.request_id for h in volley.handoffs}
    assert [event.test for event in events if isinstance(event, HandoffFinished)] == ["suite::test"] * 2


async def test_failed_requests_are_in_the_volley_and_claim_nothing(make: Make) -> None:
    prefill = FakeEngine(
        "prefill", counts=({},), fails=lambda asked: failed() if asked.prompt == PROMPT else None
    )
    volley = await make(prefill, FakeEngine("decode", on_generate=counting))(REQUEST, OTHER)
    assert [handoff.ending for handoff in volley.handoffs] == [Ending.PREFILL_FAILED, Ending.ANSWERED]
    assert volley.claim.demand.transferred == 8
    assert settled(volley.window, volley.claim)


@pytest.mark.parametrize(("n", "steps"), [(1, 0), (2, 1)])
async def test_prefill_steps_once_more_after_further_choices(make: Make, n: int, steps: int) -> None:
    prefill = FakeEngine("prefill", counts=({},))
    handoffs = make(prefill, FakeEngine("decode", on_generate=counting))
    await handoffs(replace(REQUEST, n=n, temperature=1.0, seed=1))
    plain = [sent for _, sent in prefill.log if sent.get("kv_transfer_params") is None]
    assert len(plain) == steps


async def test_tampering_reaches_decode(make: Make) -> None:
    decode = FakeEngine("decode", on_generate=counting)
    await make(FakeEngine("prefill", counts=({},)), decode)(REQUEST, tamper=lambda _: {"remote_port": 0})
    ((_, sent),) = decode.log
    assert sent["kv_transfer_params"] == {"remote_port": 0}


async def test_all_pairs_of_prefill_and_decode_come_up(make: Make) -> None:
    members = [FakeEngine(name) for name in ("prefill", "prefill-2", "decode", "decode-2")]
    handoffs = make(*members)
    sent = [await handoffs.send(REQUEST) for _ in range(4)]
    pairs = {
        (handoff.prefill.member, handoff.decode.member)
        for handoff in sent
        if handoff.prefill and handoff.decode
    }
    assert len(pairs) == 4


async def test_proxy_route_goes_through_the_proxy_only(make: Make) -> None:
    prefill, decode, proxy = FakeEngine("prefill"), FakeEngine("decode"), FakeEngine("proxy")
    handoff = await make(prefill, decode, proxy=proxy).send(REQUEST, Route.PROXY)
    assert (len(proxy.log), len(prefill.log), len(decode.log)) == (1, 0, 0)
    assert handoff.ending is Ending.ANSWERED


async def test_proxy_route_works_while_no_prefill_is_left(make: Make) -> None:
    handoff = await make(FakeEngine("decode"), proxy=FakeEngine("proxy")).send(REQUEST, Route.PROXY)
    assert handoff.ending is Ending.ANSWERED


async def test_client_route_without_a_prefill_says_so(make: Make) -> None:
    with pytest.raises(ValueError, match="no prefill member"):
        await make(FakeEngine("decode")).send(REQUEST)


async def test_handoffs_put_together_by_hand_settle_as_well(make: Make) -> None:
    handoffs = make(FakeEngine("prefill", counts=({},)), FakeEngine("decode", on_generate=counting))
    before = await handoffs.read()
    sent = [await handoffs.send(request) for request in (REQUEST, OTHER)]
    volley = await handoffs.settle(before, sent)
    assert volley.handoffs == tuple(sent)
    assert settled(volley.window, volley.claim)


def answered(request: Request, **settings: Any) -> Handoff:
    return handoff_of(request, Model().answer(request), **settings)


def test_cached_tokens_are_for_all_or_for_each(make: Make) -> None:
    handoffs = make(FakeEngine("prefill"), FakeEngine("decode"))
    both = [answered(REQUEST), answered(OTHER)]
    assert handoffs.claim(both, cached=4).demand.cached == 8
    assert handoffs.claim(both, cached=[4, 0]).demand.cached == 4
    with pytest.raises(ValueError, match="shorter"):
        handoffs.claim(both, cached=[4])


def test_further_choices_are_counted(make: Make) -> None:
    handoffs = make(FakeEngine("prefill"), FakeEngine("decode"))
    three = Request.tokens(PROMPT, n=3, temperature=1.0, seed=1)
    claim = handoffs.claim([answered(REQUEST), answered(three)])
    assert (claim.further_choices, claim.demand.transferred) == (2, 24)


def test_a_composition_is_claimed_carrier_by_carrier(make: Make) -> None:
    handoffs = make(FakeEngine("prefill"), FakeEngine("decode"), contract=("example", "nixl"))
    # 6 tokens: the store has a block of them. 5: it misses in silence, and NIXL fetches all.
    short = Request.tokens(PROMPT[:5], max_tokens=4)
    claim = handoffs.claim([answered(REQUEST), answered(short), answered(REQUEST)])
    assert [share.carrier.name for share in claim.shares] == ["example", "nixl", "example"]
    blocks = {name: claim.demand_on(contract_for([name])).blocks for name in ("example", "nixl")}
    assert blocks == {"example": 2, "nixl": 2}
    assert claim.demand.transferred == 4 + 5 + 4


async def test_counters_are_read_before_anything_is_sent(make: Make) -> None:
    decode = FakeEngine("decode", counts=[{**ZERO, "moved": 50}], on_generate=counting)
    volley = await make(FakeEngine("prefill", counts=({},)), decode)(REQUEST)
    assert volley.window.rise(volley.claim.contract.evidence.tokens.transferred) == 6
