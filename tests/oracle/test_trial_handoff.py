from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pdtest.client.answer import Answer
from pdtest.client.prompts import Prompts
from pdtest.client.request import Request
from pdtest.environment.schema import Role
from pdtest.oracle import trial_handoff
from pdtest.oracle.drift import Drift
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.trial_handoff import TrialHandoff
from pdtest.wire.registry import contract_for

from . import fakes
from .fakes import BLOCK, BLOCK_BYTES, ZERO, FakeEngine, engines, environment_of, failed

LENGTH = 2 * BLOCK + 5
BLOCKS = -(-LENGTH // BLOCK)

Count = Callable[[FakeEngine, Request], None]


def counting(**rises: float) -> Count:
    """An engine whose counters rise by so much at each request."""

    def count(engine: FakeEngine, _: Request) -> None:
        now = engine.current
        engine.now({**now, **{name: now.get(name, 0) + rise for name, rise in rises.items()}})

    return count


MOVED = counting(moved=LENGTH, bytes=BLOCKS * BLOCK_BYTES)
COMPUTED = counting(computed=LENGTH)


def prefill(name: str = "prefill", **settings: Any) -> FakeEngine:
    defaults: dict[str, Any] = {"counts": (ZERO,), "on_generate": COMPUTED}
    return FakeEngine(name, **defaults | settings)


def decode(name: str = "decode", **settings: Any) -> FakeEngine:
    defaults: dict[str, Any] = {"counts": (ZERO,), "on_generate": MOVED}
    return FakeEngine(name, **defaults | settings)


#: What prefill answers, as NIXL has it.
HANDED_OVER = {
    "do_remote_prefill": True,
    "do_remote_decode": False,
    "remote_block_ids": [[1, 2, 3, 4]],
    "remote_engine_id": "engine",
    "remote_request_id": "cmpl-1",
    "remote_host": "127.0.0.1",
    "remote_port": 5600,
    "tp_size": 1,
}


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They keep the contract; and are no dataclasses that could be given another timeout."""
    monkeypatch.setattr(fakes, "_HANDED_OVER", HANDED_OVER)
    monkeypatch.setattr(Handoffs, "with_timeout", lambda self, _: self)
    monkeypatch.setattr(trial_handoff, "_patient", lambda proxy, _: proxy)


async def drifts(*members: FakeEngine, proxy: FakeEngine | None = None) -> list[Drift]:
    environment = environment_of(settle_s=0.05)
    handoffs = Handoffs(
        environment=environment,
        contract=contract_for(environment.connector.contract),
        engines=engines(*members),
        roles={fake.name: Role(fake.name.split("-")[0]) for fake in members},
        proxy=proxy.endpoint if proxy else None,
        block_bytes=BLOCK_BYTES,
        witness=lambda _: None,
        on_event=lambda _: None,
    )
    trial = TrialHandoff(handoffs=handoffs, prompts=Prompts(seed="s", vocab_size=4096))
    return await trial.drifts(through_proxy=proxy is not None)


def only(found: list[Drift], member: str, what: str) -> Drift:
    assert [(drift.member, drift.what) for drift in found] == [(member, what)]
    assert found[0].hard
    return found[0]


class Proxy(FakeEngine):
    """Answers, and has other engines count."""

    def __init__(self, *leads_to: FakeEngine) -> None:
        super().__init__("proxy")
        self.leads_to = leads_to

    async def generate(self, request: Request, **sent: Any) -> Answer:
        for engine in self.leads_to:
            engine.on_generate(engine, request)
        return await super().generate(request, **sent)


async def test_a_handoff_that_moves_shows_nothing() -> None:
    one, other = prefill(), decode()
    assert await drifts(one, other, proxy=Proxy(one, other)) == []


async def test_every_engine_takes_part() -> None:
    members = [prefill(), decode("decode-1"), decode("decode-2"), decode("decode-3")]
    assert await drifts(*members) == []
    assert [len(member.log) for member in members] == [3, 1, 1, 1]


async def test_decode_that_computes_is_named_and_no_other() -> None:
    found = await drifts(prefill(), decode("decode-1"), decode("decode-2", on_generate=COMPUTED))
    drift = only(found, "decode-2", "no KV arrives")
    assert f"computed {LENGTH} tokens" in drift.seen
    assert drift.expected == f"{LENGTH} tokens of KV come to decode, handed over from prefill to decode-2"


async def test_prefill_that_answers_no_parameters_has_no_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    mute = prefill()
    real = mute.generate

    async def without(request: Request, **sent: Any) -> Answer:
        return await real(request, **sent | {"kv_transfer_params": None})

    monkeypatch.setattr(mute, "generate", without)
    only(await drifts(mute, decode()), "prefill", "no connector")


async def test_messages_of_another_contract_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes, "_HANDED_OVER", {"do_remote_prefill": True})
    drift = only(await drifts(prefill(), decode()), "prefill", "another contract")
    assert "remote_block_ids" in drift.seen


async def test_a_leg_that_fails_is_named() -> None:
    broken = prefill(fails=lambda _: failed(503))
    drift = only(await drifts(broken, decode()), "prefill", "fails at a handoff")
    assert "503" in drift.seen
    broken = decode(fails=lambda _: failed(500))
    only(await drifts(prefill(), broken), "decode", "fails at a handoff")


async def test_kv_that_comes_to_prefill_shows_exchanged_roles() -> None:
    one, other = prefill(), decode()
    found = await drifts(one, other, proxy=_swapped(one, other))
    drift = only(found, "prefill", "role")
    assert f"{LENGTH} tokens came to prefill" in drift.seen


def _swapped(one: FakeEngine, other: FakeEngine) -> Proxy:
    """A proxy for which prefill is decode."""
    proxy = Proxy()

    async def generate(request: Request, **sent: Any) -> Answer:
        MOVED(one, request)
        COMPUTED(other, request)
        return await FakeEngine.generate(proxy, request, **sent)

    proxy.generate = generate  # type: ignore[method-assign]
    return proxy


async def test_a_proxy_that_leads_to_other_engines_is_named() -> None:
    drift = only(await drifts(prefill(), decode(), proxy=Proxy()), "proxy", "leads elsewhere")
    assert "no counter of prefill, decode has moved" in drift.seen


async def test_other_peoples_requests_are_noticed() -> None:
    busy = decode(on_generate=counting(moved=5 * LENGTH, bytes=5 * BLOCKS * BLOCK_BYTES))
    drift = only(await drifts(prefill(), busy), "decode", "serves others at the same time")
    assert drift.seen == f"{5 * LENGTH} tokens of prompts"


async def test_bytes_that_are_too_few_are_told_as_they_are() -> None:
    short = decode(on_generate=counting(moved=LENGTH, bytes=BLOCK_BYTES))
    drift = only(await drifts(prefill(), short), "decode", "not what must move")
    assert "nixl_bytes_transferred_sum" in drift.seen


async def test_several_processes_behind_one_url_are_noticed() -> None:
    first = {**ZERO, "process_start_time_seconds": 1.0}
    second = {**ZERO, "process_start_time_seconds": 2.0}
    balanced = decode(counts=(first, second), on_generate=lambda *_: None)
    only(await drifts(prefill(), balanced), "decode", "several processes at one URL")
