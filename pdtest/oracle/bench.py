"""Puts loads on a running environment, and makes a result of each: what it did, what it took, where it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pdtest.cluster.cluster import Cluster
from pdtest.compare import conditions, fingerprint
from pdtest.environment.arrivals import Closed
from pdtest.environment.schema import Role
from pdtest.environment.workload import Workload
from pdtest.load.drive import Recorded, drive
from pdtest.load.hand import Hire
from pdtest.load.layout import LoadPlan, lay_out
from pdtest.metrics import measures_of
from pdtest.metrics.devices import device_measures
from pdtest.metrics.phases import phase_measures
from pdtest.metrics.transfer import transfer_measures
from pdtest.metrics.vllm_bench import as_vllm_bench
from pdtest.oracle.evidence import Reading, Window
from pdtest.oracle.hardware import hardware_of
from pdtest.oracle.side import Side
from pdtest.results import Exchange, Measure, Monitor, Result, write_result
from pdtest.telemetry.energy import energy_by_request, energy_measures
from pdtest.telemetry.telemetry import Telemetry

#: Engines count a moment after they have answered: how often they are asked again, and how long at most
#: where what they show leaves something open.
_POLL_S: Final = 0.05
_PATIENCE_S: Final = 2.0
#: Requests of a warm-up that are under way at once.
_WARM: Final = 8


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all loads of one environment have in common.

    ``directory``: of the results, a folder each. ``read``: the metrics of these engines, now; it blocks.
    ``build``: versions of what is measured. ``salt`` is part of all prompts' contents. ``hire`` starts a
    process of the load's client elsewhere.
    """

    cluster: Cluster
    run: str
    directory: Path
    watch: Telemetry
    read: Callable[[Collection[str]], Reading]
    vocab_size: int
    build: Mapping[str, str]
    salt: str
    hire: Hire | None = None
    #: Sides that had their warm-up.
    warm: set[str] = field(default_factory=set)

    def measure(
        self, name: str, workload: Workload, side: Side, *, repeat: int = 0, processes: int = 1
    ) -> Result:
        """Put ``workload`` on ``side``, and write what came of it. ``name`` is that of the workload.

        Raises ImpossibleLoad, LoadBroken and MissingExtra.
        """
        label = self._label(name, side, repeat)
        plan = self.plan(workload, label)
        self._warm_up(plan, side, processes)
        before = self.read(side.engines)
        recorded = self._drive(replace(plan, warm_up=()), side, processes)
        window = self._settled(before, side, recorded)
        monitors = self.watch.monitors(recorded.begun_monotonic_s)
        used = [one for one in monitors if not one.members or set(one.members) & side.engines.keys()]
        measures = (
            *self._of_client(recorded),
            *self._of_servers(recorded, window, side),
            *self._of_devices(recorded, used, side),
        )
        facts = conditions(self.cluster.environment, workload=_described(name, workload), target=side.name)
        result = Result(
            run=self.run,
            environment=self.cluster.environment.name,
            fingerprint=fingerprint(facts),
            conditions=facts,
            build=dict(self.build),
            target=side.name,
            label=label,
            repeat=repeat,
            workload=_described(name, workload),
            begun_unix_s=recorded.begun_unix_s,
            begun_monotonic_s=recorded.begun_monotonic_s,
            lasted_s=recorded.lasted_s,
            steady_s=recorded.steady_s,
            client=recorded.client,
            senders=recorded.senders,
            measures=measures,
            monitors=tuple(monitor.name for monitor in monitors),
        )
        self._write(result, _charged(recorded.exchanges, used), monitors)
        return result

    @property
    def _timeout_s(self) -> float:
        return self.cluster.environment.thresholds.request_timeout_s

    def _label(self, name: str, side: Side, repeat: int) -> str:
        """A folder that is not there yet."""
        wanted = f"{name}-{side.name}-{repeat}"
        number = 1
        while (self.directory / (label := wanted if number == 1 else f"{wanted}.{number}")).exists():
            number += 1
        return label

    def plan(self, workload: Workload, label: str) -> LoadPlan:
        """The requests of a load, with contents that are nobody else's. Raises ImpossibleLoad."""
        environment = self.cluster.environment
        return lay_out(
            workload,
            vocab_size=self.vocab_size,
            max_model_len=environment.model.max_model_len,
            salt=f"{self.salt}:{label}",
            base=environment.source.parent if environment.source else None,
        )

    def _warm_up(self, plan: LoadPlan, side: Side, processes: int) -> None:
        """Before the first load on a side, and apart from it: no counter has these requests in it."""
        if not plan.warm_up or side.name in self.warm:
            return
        self.warm.add(side.name)
        count = len(plan.warm_up)
        closed = Closed(pattern="closed", concurrency=min(_WARM, count))
        changes = {"arrivals": closed, "requests": count, "duration_s": None, "warm_up": 0}
        warm = LoadPlan(workload=plan.workload.model_copy(update=changes), asks=plan.warm_up)
        self._drive(warm, side, processes)

    def _drive(self, plan: LoadPlan, side: Side, processes: int) -> Recorded:
        return drive(plan, side.ways, processes=processes, timeout_s=self._timeout_s, hire=self.hire)

    def _settled(self, before: Reading, side: Side, recorded: Recorded) -> Window:
        """The window from before the load to when the engines have counted all of it."""
        deadline = time.monotonic() + min(_PATIENCE_S, self.cluster.environment.thresholds.settle_s)
        last: tuple[Measure, ...] | None = None
        while True:
            window = Window(before=before, after=self.read(side.engines), roles=side.engines)
            now = tuple(self._of_servers(recorded, window, side))
            if now == last and (_complete(now) or time.monotonic() >= deadline):
                return window
            last = now
            time.sleep(_POLL_S)

    def _of_client(self, recorded: Recorded) -> Iterator[Measure]:
        environment = self.cluster.environment
        yield from measures_of(
            recorded.exchanges,
            lasted_s=recorded.lasted_s,
            steady_s=recorded.steady_s,
            slo=environment.performance.slo,
        )

    def _of_servers(self, recorded: Recorded, window: Window, side: Side) -> Iterator[Measure]:
        if side.routed:
            return
        answered = [one for one in recorded.exchanges if one.ok]
        yield from phase_measures(answered, window, side.contract)
        if side.contract is not None:
            block_size = self.cluster.environment.model.block_size
            yield from transfer_measures(side.contract, answered, window, block_size=block_size)

    def _of_devices(self, recorded: Recorded, used: Sequence[Monitor], side: Side) -> Iterator[Measure]:
        environment = self.cluster.environment
        answered = sum(one.tokens for one in recorded.exchanges if one.ok)
        yield from device_measures(
            answered / recorded.lasted_s if recorded.lasted_s else None,
            devices=hardware_of(environment, side.engines).devices,
            hour_cost=environment.performance.device_hour_cost,
        )
        apart = {name: role.value for name, role in side.engines.items() if role is not Role.HYBRID}
        phases = apart if side.apart else {}
        yield from energy_measures(used, recorded.exchanges, (0.0, recorded.lasted_s), phases)

    def _write(self, result: Result, exchanges: Sequence[Exchange], monitors: tuple[Monitor, ...]) -> None:
        folder = self.directory / result.label
        write_result(folder, result, exchanges, monitors)
        exported = as_vllm_bench(result, exchanges, model=self.cluster.environment.model.name)
        (folder / "vllm-bench.json").write_text(exported, encoding="utf-8")


def _charged(exchanges: Sequence[Exchange], used: Sequence[Monitor]) -> tuple[Exchange, ...]:
    """With ``energy_j`` in `Exchange.extra`, each one's share of what devices took, where it can be told."""
    joules = energy_by_request(used, exchanges)
    return tuple(
        one.model_copy(update={"extra": one.extra | {"energy_j": joules[one.request_id]}}) if joules else one
        for one in exchanges
    )


def _described(name: str, workload: Workload) -> dict[str, Any]:
    return {"name": name, **workload.model_dump(mode="json")}


def _complete(measures: tuple[Measure, ...]) -> bool:
    """Whether the counters show all that can be shown."""
    rate = next((one for one in measures if one.name == "kv_transfer_success_rate"), None)
    return rate is None or rate.value == 1
