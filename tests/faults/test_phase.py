from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import Call, Unreachable
from pdtest.client.metrics import Metrics
from pdtest.environment.scenarios import Phase
from pdtest.environment.schema import Phases, Role
from pdtest.faults import Unverified
from pdtest.faults.phase import Missed, Reached, reach

ROLES = {"prefill": Role.PREFILL, "prefill-2": Role.PREFILL, "decode": Role.DECODE}
IDLE: Mapping[str, float] = {"running": 0, "fetching": 0, "usage": 0}


@dataclass
class FakeEngine:
    """Shows one entry of ``looks`` after the other, then the last one; None: it does not answer."""

    looks: Sequence[Mapping[str, float] | None]
    turn: int = 0

    async def metrics(self, *_: str) -> Metrics:
        look = self.looks[min(self.turn, len(self.looks) - 1)]
        self.turn += 1
        if look is None:
            raise Unreachable(Call(member="x", method="GET", url="http://x", timeout_s=1), reason="gone")
        now = {**IDLE, **look}
        return Metrics.parse(
            f"vllm:num_requests_running {now['running']}\n"
            f'vllm:num_requests_kv_fetch_by_stage{{stage="in_progress"}} {now["fetching"]}\n'
            f'vllm:num_requests_kv_fetch_by_stage{{stage="completed_waiting"}} 7\n'
            f"vllm:kv_cache_usage_perc {now['usage']}\n"
        )


def engines(**looks: Sequence[Mapping[str, float] | None]) -> dict[str, Endpoint]:
    named = {name.replace("_", "-"): FakeEngine(seen) for name, seen in looks.items()}
    return {name: cast("Endpoint", engine) for name, engine in named.items()}


JOURNEY = engines(
    prefill=[IDLE],
    prefill_2=[IDLE, {"running": 1, "usage": 0.1}, {"usage": 0.1}, {"usage": 0.1}, IDLE],
    decode=[IDLE, IDLE, {"fetching": 1, "usage": 0.1}, {"running": 1, "usage": 0.1}, IDLE],
)


@pytest.mark.parametrize(
    ("phase", "prefill", "decode"),
    [
        (Phase.PREFILL, "prefill-2", None),
        (Phase.TRANSFER, "prefill-2", "decode"),
        (Phase.DECODE, "prefill-2", "decode"),
    ],
)
async def test_phases_are_told_apart(phase: Phase, prefill: str, decode: str | None) -> None:
    for engine in JOURNEY.values():
        cast("FakeEngine", engine).turn = 0
    request: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    reached = await reach(phase, request, JOURNEY, ROLES, within_s=5)
    assert (reached.phase, reached.prefill, reached.decode) == (phase, prefill, decode)


async def test_a_request_that_ends_before_was_never_there() -> None:
    request: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.05, request.set_result, None)
    with pytest.raises(Unverified, match="never seen in the phase transfer") as raised:
        await reach(Phase.TRANSFER, request, engines(prefill=[{"running": 1}]), ROLES, within_s=5)
    assert "it ended before; phases seen: prefill" in str(raised.value)


async def test_engines_that_tell_nothing_are_no_proof() -> None:
    request: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    with pytest.raises(Unverified, match="phases seen: none"):
        await reach(Phase.DECODE, request, engines(decode=[None]), ROLES, within_s=0.05)


def test_a_fault_that_may_have_come_too_late_missed() -> None:
    reached = Reached(phase=Phase.TRANSFER, prefill=None, decode=None, not_before=100.0)
    phases = Phases(transfer=0.3)
    reached.require_still(phases, 100.2, ended=False)
    with pytest.raises(Missed, match=r"0\.31 s after"):
        reached.require_still(phases, 100.31, ended=False)


def test_where_phases_have_no_length_a_request_must_not_have_ended() -> None:
    reached = Reached(phase=Phase.DECODE, prefill=None, decode=None, not_before=100.0)
    reached.require_still(Phases(), 200.0, ended=False)
    with pytest.raises(Missed):
        reached.require_still(Phases(), 100.0, ended=True)
