"""The client-orchestrated test: a load led by ourselves over both legs, with decode's ranks watched."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property

from pdtest.client.handoff import Handoff, Route
from pdtest.client.prompts import Prompts
from pdtest.client.request import Request
from pdtest.environment.schema import Environment
from pdtest.load.openloop import Launched, open_loop
from pdtest.load.phases import Phases
from pdtest.load.plan import Plan, planned
from pdtest.oracle.evidence import Window
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.kv_spread import KvSpread, Stay, kv_spread
from pdtest.oracle.kv_transfer import KvTransfer, kv_transfer
from pdtest.telemetry.series import Series
from pdtest.telemetry.source import Source
from pdtest.telemetry.watch import watching
from pdtest.wire.contract import Contract


@dataclass(frozen=True, kw_only=True)
class ClientLoad:
    """All that was measured. Times are seconds since the load began, unless a handoff's own.

    ``series``: the ranks of each decode member, by its name. ``watched_s``: when the watch ended.
    """

    environment: Environment
    contract: Contract
    plan: Plan
    launched: tuple[Launched[Handoff], ...]
    series: Mapping[str, Series]
    window: Window
    watched_s: float
    block_bytes: int | None

    @property
    def handoffs(self) -> tuple[Handoff, ...]:
        """In the order of arrival."""
        return tuple(one.result for one in self.launched)

    @property
    def answered(self) -> tuple[Handoff, ...]:
        """Those that were."""
        return tuple(handoff for handoff in self.handoffs if handoff.answer is not None)

    @property
    def success_rate(self) -> float:
        """The share that was answered."""
        return len(self.answered) / len(self.launched)

    @cached_property
    def phases(self) -> Phases:
        """Where the time went."""
        return Phases.of(self.handoffs)

    @cached_property
    def transfer(self) -> KvTransfer:
        """How much KV moved."""
        return kv_transfer(
            self.contract,
            self.handoffs,
            self.window,
            block_size=self.environment.model.block_size,
            block_bytes=self.block_bytes,
        )

    @property
    def requests_per_s(self) -> float:
        """How many arrived, on average: the rate of the load, unless the client was a whole step late."""
        return len(self.launched) / max(self.plan.load.over_s, *(one.started_s for one in self.launched))

    @property
    def answers_per_s(self) -> float:
        """How many were answered, from the first arrival to the last answer."""
        return len(self.answered) / max(one.ended_s for one in self.launched)

    @property
    def client_late_s(self) -> float:
        """By how much the client was late at worst, with a request or with a look."""
        return max(
            *(one.late_s for one in self.launched), *(series.late_s for series in self.series.values())
        )

    @property
    def statistics_age_s(self) -> float:
        """How old the newest statistics of a decode member ever were.

        Over the whole watch; where a source says nothing of idle ranks, while a request was on decode.
        """
        return max(series.oldest_s(*self._span(member, series)) for member, series in self.series.items())

    @cached_property
    def spreads(self) -> Mapping[str, KvSpread]:
        """How the ranks of each decode member shared the load; members with one rank are left out."""
        spreads = {
            member: kv_spread(
                series,
                self.stays(member),
                block_size=self.environment.model.block_size,
                limits=self.environment.thresholds.client,
            )
            for member, series in self.series.items()
        }
        return {member: spread for member, spread in spreads.items() if spread is not None}

    def stays(self, member: str) -> list[Stay]:
        """The requests that a decode member answered."""
        return [
            Stay(
                begin_s=one.started_s + hop.started_s,
                end_s=one.started_s + hop.ended_s,
                prompt=hop.answer.usage.prompt_tokens,
                answer=hop.answer.usage.completion_tokens,
            )
            for one in self.launched
            if (hop := one.result.decode) is not None and hop.member == member and hop.answer is not None
        ]

    def numbers(self) -> dict[str, float | int | None]:
        """What is reported, by name. None: not known."""
        phases, transfer = self.phases, self.transfer
        numbers: dict[str, float | int | None] = {
            "requests": len(self.launched),
            "answered": len(self.answered),
            "success_rate": self.success_rate,
            "kv_transfer_rate": transfer.rate,
            "requests_per_s": self.requests_per_s,
            "answers_per_s": self.answers_per_s,
            "prefill_share": phases.share(phases.prefill),
            "decode_share": phases.share(phases.decode),
            "statistics_age_s": self.statistics_age_s,
            "client_late_s": self.client_late_s,
        }
        for name in ("total", "prefill", "decode"):
            times = getattr(phases, name)
            for part in ("mean", "p50", "p90", "p99"):
                numbers[f"{name}_{part}_s"] = None if times is None else getattr(times, part)
        for member, spread in self.spreads.items():
            numbers |= {
                f"{member}_kv_imbalance": spread.measured.imbalance,
                f"{member}_kv_imbalance_by_count": spread.by_count.imbalance,
                f"{member}_kv_preference": spread.measured.preference,
                f"{member}_kv_preference_by_count": spread.by_count.preference,
            }
        return numbers

    def waiting(self, member: str) -> float | None:
        """Requests that waited on a decode member, on average over the looks; None where that is not told."""
        states = self.series[member].states(0.0, self.watched_s) if member in self.series else []
        counts = [
            sum(reading.waiting for reading in state.values() if reading.waiting is not None)
            for _, state in states
        ]
        return statistics.fmean(counts) if counts else None

    def _span(self, member: str, series: Series) -> tuple[float, float]:
        stays = self.stays(member)
        if not series.silent_when_idle or not stays:
            return 0.0, self.watched_s
        return min(stay.begin_s for stay in stays), max(stay.end_s for stay in stays)


async def put_on(handoffs: Handoffs, prompts: Prompts, sources: Mapping[str, Source]) -> ClientLoad:
    """Put on the load that the environment asks for, by the client's route, and watch ``sources`` meanwhile.

    ``sources`` by decode member. A handoff that fails is recorded in the result. Raises ImpossibleLoad, and
    RequestFailed errors when the engines' counters cannot be read.
    """
    environment = handoffs.environment
    plan = planned(environment)
    requests = _requests(plan, prompts)
    before = await handoffs.read()
    began = time.perf_counter()

    def clock() -> float:
        return time.perf_counter() - began

    async def send(number: int) -> Handoff:
        return await handoffs.send(requests[number], Route.CLIENT)

    async with AsyncExitStack() as stack:
        series = {
            member: await stack.enter_async_context(
                watching(source, every_s=environment.watch.every_s, clock=clock)
            )
            for member, source in sources.items()
        }
        launched = await open_loop(plan.arrivals, send, clock=clock)
        await asyncio.sleep(plan.load.over_s + environment.watch.after_load_s - clock())
        watched_s = clock()
    volley = await handoffs.settle(before, [one.result for one in launched])
    return ClientLoad(
        environment=environment,
        contract=handoffs.contract,
        plan=plan,
        launched=launched,
        series=series,
        window=volley.window,
        watched_s=watched_s,
        block_bytes=handoffs.block_bytes,
    )


def _requests(plan: Plan, prompts: Prompts) -> Sequence[Request]:
    """Of token ids, so that their lengths are what was planned, and with answers of one length."""
    return [
        Request.tokens(
            prompts.tokens(length), max_tokens=plan.load.max_tokens, ignore_eos=True, logprobs=None
        )
        for length in plan.lengths
    ]
