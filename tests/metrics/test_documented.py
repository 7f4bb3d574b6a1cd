"""docs/metrics.md defines every measure that a load comes to."""

from __future__ import annotations

import re
from pathlib import Path

from pdtest.environment.performance import Slo
from pdtest.metrics import measures_of
from pdtest.metrics.devices import device_measures
from pdtest.metrics.phases import PHASES, phase_measures
from pdtest.metrics.transfer import transfer_measures
from pdtest.telemetry.energy import energy_measures
from pdtest.wire.evidence import Counter
from pdtest.wire.registry import contract_for

from .streams import exchange

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
STATISTICS = ("mean", "p50", "p90", "p95", "p99", "max")


class Nothing:
    """Servers that tell nothing."""

    def rise(self, counter: Counter) -> float | None:
        del counter
        return None

    def gap(self, counter: Counter) -> str | None:
        return f"no {counter}"


def documented() -> set[str]:
    names: set[str] = set()
    for name in re.findall(r"`([a-z0-9_<>*]+)`", PAGE):
        if name.endswith("_*"):
            names |= {f"{name[:-1]}{statistic}" for statistic in STATISTICS}
        elif "<phase>" in name:
            names |= {name.replace("<phase>", phase) for phase in PHASES}
        else:
            names.add(name)
    return names


def test_every_measure_is_defined() -> None:
    answered = [exchange((1.0, 1), (2.0, 1))]
    measures = [
        *measures_of(answered, lasted_s=3, steady_s=(0, 3), slo=Slo(ttft_s=1)),
        *phase_measures(answered, None, None),
        *transfer_measures(contract_for(("nixl",)), answered, Nothing(), block_size=16),
        *device_measures(1.0, devices=1, hour_cost=1.0),
        *energy_measures((), answered, (0, 3), {}),
    ]

    names = [measure.name for measure in measures]
    assert len(names) == len(set(names))
    assert set(names) <= documented()


def test_what_could_not_be_measured_says_why() -> None:
    for measure in measures_of([], lasted_s=0, steady_s=None):
        assert (measure.value is None) == (measure.why is not None), measure
