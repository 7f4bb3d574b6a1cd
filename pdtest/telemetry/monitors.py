"""Monitors of a load, out of what the process that looks has written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from math import inf
from pathlib import Path
from typing import Final

from pdtest.results.monitor import Monitor, Reading
from pdtest.telemetry.meter import ALL, UNITS, Offer
from pdtest.telemetry.records import Cost, Row, read

#: Readings are that far apart at most, in intervals, before and after a load, to be taken as its neighbours.
_NEIGHBOUR: Final = 10


@dataclass
class _Seen:
    """Of one offer: its readings in the span, and those next to it."""

    offer: Offer
    before: Row | None = None
    within: list[Row] = field(default_factory=list)
    after: Row | None = None

    def take(self, row: Row, begin_s: float, end_s: float) -> None:
        if row.at_s < begin_s:
            self.before = row
        elif row.at_s <= end_s:
            self.within.append(row)
        elif self.after is None:
            self.after = row

    @property
    def rows(self) -> Sequence[Row]:
        return [row for row in (self.before, *self.within, self.after) if row is not None]


def monitors_of(path: Path, begin_s: float, end_s: float, *, died: str | None = None) -> tuple[Monitor, ...]:
    """One for each offer, times counted from ``begin_s``. ``died``: why looking ended before its time."""
    offers: dict[str, _Seen] = {}
    costs: list[Cost] = []
    margin_s = _margin(path)
    for record in read(path, begin_s - margin_s, end_s + margin_s):
        if isinstance(record, Offer):
            offers[record.name] = _Seen(offer=record)
        elif isinstance(record, Cost):
            costs.append(record)
        else:
            offers[record.name].take(record, begin_s, end_s)
    cost = _cost(costs, begin_s, end_s)
    return tuple(_monitor(seen, begin_s, cost, died) for seen in offers.values())


def _margin(path: Path) -> float:
    """How far around a span its neighbours may lie, seconds: by the slowest of the offers."""
    # They are written before all else.
    offers = takewhile(lambda record: isinstance(record, Offer), read(path, -inf, inf))
    return _NEIGHBOUR * max((offer.every_s for offer in offers if isinstance(offer, Offer)), default=0.0)


def _monitor(seen: _Seen, begin_s: float, cost: float | None, died: str | None) -> Monitor:
    offer, rows = seen.offer, seen.rows
    given = [name for name in offer.quantities if any(name in row.seen.values for row in rows)]
    missing = dict(offer.missing) | dict(_missing(seen, given))
    if died is not None:
        missing[ALL] = died
    return Monitor(
        kind=offer.kind,
        name=offer.name,
        members=offer.members,
        every_s=offer.every_s,
        true_every_s=(rows[-1].at_s - rows[0].at_s) / (len(rows) - 1) if len(rows) > 1 else None,
        cost_cpu_share=cost,
        units={name: UNITS[name] for name in given},
        readings=tuple(
            Reading(at_s=round(row.at_s - begin_s, 6), values=dict(row.seen.values))
            for row in rows
            if row.seen.values
        ),
        missing=missing,
    )


def _missing(seen: _Seen, given: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What did not come, or not every time, with the last reason that was told."""
    rows = seen.rows
    if seen.offer.readable and not rows:
        yield ALL, "no reading came while the load ran"
        return
    reasons: dict[str, str] = {}
    failed: Counter[str] = Counter()
    for row in rows:
        reasons |= row.seen.missing
        failed.update(row.seen.missing.keys())
    if failed[ALL] == len(rows) and rows:
        yield ALL, reasons[ALL]
        return
    for name, times in failed.items():
        gone = name != ALL and name not in given
        # "*" is for a source that is missing altogether, so readings that failed go by another name.
        yield (
            ("readings" if name == ALL else name),
            (reasons[name] if gone else f"{times} of {len(rows)} readings failed: {reasons[name]}"),
        )
    for name in seen.offer.quantities:
        if name not in given and name not in failed:
            yield name, "no reading told it"


def _cost(costs: Sequence[Cost], begin_s: float, end_s: float) -> float | None:
    """Share of a core between the last note before a span and the first after it, or those nearest to it."""
    if not costs:
        return None
    first = next((cost for cost in reversed(costs) if cost.at_s <= begin_s), costs[0])
    last = next((cost for cost in costs if cost.at_s >= end_s), costs[-1])
    if last.at_s <= first.at_s:
        return None
    return (last.cpu_s - first.cpu_s) / (last.at_s - first.at_s)
