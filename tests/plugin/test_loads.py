"""In which order sides are measured, how often, and what is measured again."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pdtest.environment.performance import Performance
from pdtest.environment.workload import Workload
from pdtest.oracle.side import PD, SINGLE, Side
from pdtest.plugin.performance import Loads, UnknownWorkload
from pdtest.results import ClientHealth, Result

WORK = Workload(requests=1)


def result(side: str, repeat: int, *, valid: bool) -> Result:
    health = ClientHealth(
        processes=1,
        loop_lag_p99_s=0,
        schedule_lag_p99_s=0,
        cpu_share=0,
        coalesced_share=0,
        reasons=() if valid else ("late",),
    )
    return Result(
        run="run",
        environment="mine",
        fingerprint="f",
        label="label",
        target=side,
        repeat=repeat,
        workload={},
        begun_unix_s=0,
        begun_monotonic_s=0,
        lasted_s=1,
        steady_s=None,
        client=health,
        measures=(),
    )


class Noted(Loads):
    """Measures nothing: says what would be, and finds the client at its limit as often as ``busy`` says."""

    asked: list[tuple[str, int]]
    busy: Iterator[bool]

    def put(self, name: str, workload: Workload, side: Side, *, repeat: int = 0) -> Result:
        assert (name, workload) == ("default", WORK)
        self.asked.append((side.name, repeat))
        return result(side.name, repeat, valid=not next(self.busy, False))


def loads(*, busy: tuple[bool, ...] = (), **settings: Any) -> Noted:
    sides = {name: Side(name=name, ways=(), engines={}, contract=None) for name in (PD, SINGLE)}
    environment = SimpleNamespace(
        name="mine", performance=Performance(**settings), workloads={"default": WORK}
    )
    made = Noted(
        environment=cast("Any", environment),
        contract=cast("Any", None),
        cluster=cast("Any", None),
        sides=sides,
        bench=cast("Any", None),
        _request=cast("Any", None),
        _known={},
    )
    object.__setattr__(made, "asked", [])
    object.__setattr__(made, "busy", iter(busy))
    return made


def test_sides_are_measured_abba() -> None:
    used = loads(runs=4)

    used.side_by_side(SINGLE, PD)

    assert [side for side, _ in used.asked] == [SINGLE, PD, PD, SINGLE, SINGLE, PD, PD, SINGLE]
    assert [repeat for _, repeat in used.asked] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_what_was_measured_is_not_measured_twice() -> None:
    used = loads(runs=2)

    runs = used.runs()
    both = used.side_by_side(SINGLE, PD)

    assert used.asked == [(PD, 0), (PD, 1), (SINGLE, 0), (SINGLE, 1)]
    assert both[PD] is runs


def test_a_run_bound_by_its_client_is_measured_again() -> None:
    used = loads(runs=2, busy=(True, True, False, True))

    runs = used.runs()

    assert [(one.repeat, one.client.valid) for one in runs] == [
        *((0, False), (0, False), (0, True)),
        *((1, False), (1, True)),
    ]


def test_but_not_for_ever() -> None:
    used = loads(runs=1, again=1, busy=(True,) * 9)

    assert [one.client.valid for one in used.runs()] == [False, False]


def test_a_workload_that_is_not_there_is_said() -> None:
    used = loads(workload="other")

    with pytest.raises(UnknownWorkload, match="no workload 'other'"):
        _ = used.workload
