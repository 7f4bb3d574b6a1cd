"""Runs with given values, as if they had been measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pdtest.results import Better, ClientHealth, Measure, Result

STEADY = (0.100, 0.101, 0.099, 0.102, 0.098)


def scaled(factor: float, values: Sequence[float] = STEADY) -> list[float]:
    """Each of them so many times."""
    return [factor * value for value in values]


def runs(
    values: Mapping[str, Sequence[float | None]],
    *,
    better: Better = Better.LOWER,
    unit: str = "s",
    invalid: int = 0,
    **fields: Any,
) -> tuple[Result, ...]:
    """One Result for each value; the first ``invalid`` were bound by their client. ``fields``: of Result."""
    return tuple(
        _run(number, values, better=better, unit=unit, is_valid=number >= invalid, **fields)
        for number in range(max(map(len, values.values())))
    )


def _run(
    number: int,
    values: Mapping[str, Sequence[float | None]],
    *,
    better: Better,
    unit: str,
    is_valid: bool,
    **fields: Any,
) -> Result:
    given: dict[str, Any] = {
        "run": "20261121-000000-abcdef",
        "environment": "embedded",
        "fingerprint": "f" * 16,
        "label": f"chat-{number}",
        "workload": {"name": "chat", "requests": 100},
        **fields,
    }
    return Result(
        repeat=number,
        begun_unix_s=1000.0 + number,
        begun_monotonic_s=float(number),
        lasted_s=10.0,
        steady_s=(1.0, 9.0),
        client=ClientHealth(
            processes=1,
            loop_lag_p99_s=0.001,
            schedule_lag_p99_s=0.001,
            cpu_share=0.2,
            coalesced_share=0.0,
            reasons=() if is_valid else ("its event loop was late",),
        ),
        measures=tuple(
            Measure(name=name, value=column[number], unit=unit, better=better)
            for name, column in values.items()
            if number < len(column)
        ),
        **given,
    )
