"""Loads that belong together: one workload on one environment, by target and repeat."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any, Final

from pdtest.environment.compare import HEADLINE
from pdtest.report.account.load import LoadShown
from pdtest.results.amount import Scale, amount, duration

#: Measures that are shown at once, before all others: what verdicts rest on, and what they need to be read.
_FIRST: Final = (
    "requests_per_s",
    "offered_requests_per_s",
    "concurrency_mean",
    *HEADLINE,
    "tokens_per_joule",
    "kv_transfer_rate",
    "answers_per_s",
    "total_mean_s",
    "prefill_mean_s",
    "prefill_share",
    "decode_mean_s",
    "decode_share",
    "statistics_age_s",
    "power_mean",
)


#: Targets that are in many runs, with their places.
_TARGETS: Final = {"pd": 0, "single": 1}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A measure of a target: the median over its runs, from the least to the most; ``why`` there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A measure by target, all in one ``scale``."""

    name: str
    scale: Scale
    cells: tuple[Cell, ...]

    @property
    def why(self) -> str:
        """Why no target has a value; empty where one has."""
        absent = all(cell.value is None for cell in self.cells)
        return "; ".join(dict.fromkeys(cell.why for cell in self.cells)) if absent else ""


@dataclass(frozen=True)
class Group:
    """``loads`` in the order in which they were measured."""

    loads: tuple[LoadShown, ...]

    @property
    def environment(self) -> str:
        """Where."""
        return self.loads[0].environment

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Each has the same place, and so the same colour, in all groups."""
        return in_order(load.target for load in self.loads)

    @property
    def firsts(self) -> tuple[LoadShown, ...]:
        """The first valid run of each target, or its first: those whose curves are drawn."""
        return tuple(
            min((one for one in self.loads if one.target == target), key=lambda one: not one.client.valid)
            for target in self.targets
        )

    @property
    def title(self) -> str:
        """The workload's name, or that of the first load."""
        return str(self.loads[0].workload.get("name") or self.loads[0].label)

    @property
    def words(self) -> str:
        """The workload in a line."""
        return in_words(self.loads[0].workload)

    def runs(self, target: str) -> tuple[LoadShown, ...]:
        """Of one target."""
        return tuple(load for load in self.loads if load.target == target)

    def rows(self) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """Those to show at once, and the others. Measures that no run could take are among the others."""
        named = {measure.name: measure for load in self.loads for measure in load.measures}
        rows = {name: self._row(name, one.unit) for name, one in named.items()}
        first = [
            rows[name]
            for name in _FIRST
            if name in rows and any(cell.value is not None for cell in rows[name].cells)
        ]
        return tuple(first), tuple(row for row in rows.values() if row not in first)

    def errors(self) -> tuple[tuple[str, int, int], ...]:
        """What requests failed with, how many of them did, and in how many runs."""
        found: dict[str, list[int]] = {}
        for load in self.loads:
            for error, count in load.errors.items():
                found.setdefault(error, []).append(count)
        return tuple((error, sum(counts), len(counts)) for error, counts in found.items())

    @property
    def requests(self) -> int:
        """Of all runs."""
        return sum(load.requests for load in self.loads)

    def _row(self, name: str, unit: str) -> Row:
        cells = tuple(_cell(name, self.runs(target)) for target in self.targets)
        return Row(name=name, scale=Scale.of([cell.value for cell in cells], unit), cells=cells)


def in_order(targets: Iterable[str]) -> tuple[str, ...]:
    """What is tested, then what it is held against, then others as they come."""
    return tuple(sorted(dict.fromkeys(targets), key=lambda target: _TARGETS.get(target, len(_TARGETS))))


def groups(loads: Iterable[LoadShown]) -> tuple[Group, ...]:
    """By environment and workload: those that were measured most often first, then as they were measured."""
    found: dict[tuple[str, str], list[LoadShown]] = {}
    for load in loads:
        same = {key: value for key, value in load.workload.items() if key != "seed"}
        found.setdefault((load.environment, json.dumps(same, sort_keys=True)), []).append(load)
    return tuple(sorted((Group(tuple(one)) for one in found.values()), key=lambda group: -len(group.loads)))


def in_words(workload: Mapping[str, Any]) -> str:
    """A workload of an environment file, in a line."""
    return ", ".join(_words(workload))


def _words(workload: Mapping[str, Any]) -> Iterator[str]:
    arrivals = workload.get("arrivals")
    if isinstance(arrivals, Mapping):
        yield f"{arrivals.get('pattern', 'arrivals')} {_settings(arrivals, 'pattern')}".strip()
    if workload.get("requests") is not None:
        yield f"{workload['requests']} requests"
    if workload.get("duration_s") is not None:
        yield f"over {duration(float(workload['duration_s']))}"
    for key, label in (("prompt", "prompts"), ("answer", "answers")):
        one = workload.get(key)
        if isinstance(one, Mapping):
            yield f"{label} {one.get('shape', '')} {_settings(one, 'shape')}".strip()
    prefixes = workload.get("prefixes")
    if isinstance(prefixes, Mapping):
        yield f"shared prefixes {_settings(prefixes, '')}"


def _settings(data: Mapping[str, Any], but: str) -> str:
    plain = {key: value for key, value in data.items() if key != but and value is not None}
    if set(plain) == {"tokens"}:
        return f"of {plain['tokens']} tokens"
    if set(plain) == {"rate"}:
        return amount(plain["rate"], "requests/s")
    return " ".join(f"{key}={value}" for key, value in plain.items())


def _cell(name: str, runs: Sequence[LoadShown]) -> Cell:
    taken = [one for load in runs if (one := load.measure(name)) is not None]
    values = [one.value for one in taken if one.value is not None]
    if not values:
        return Cell(value=None, why=next((one.why for one in taken if one.why), "not measured"))
    several = max(values) > min(values)
    return Cell(
        value=median(values), low=min(values) if several else None, high=max(values) if several else None
    )
