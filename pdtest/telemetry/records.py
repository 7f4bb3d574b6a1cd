"""The file that the process that looks writes and others read: one JSON a line, appended as it comes.

A line is an offer (these come first), a reading, or what looking has cost so far. Times are seconds of
CLOCK_MONOTONIC, which all processes of a machine share, and begin a line: others' need not be parsed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pdtest.telemetry.meter import Offer, Seen

FILE: Final = "telemetry.jsonl"

_TIME: Final = '{"t":'
_COMPACT: Final = (",", ":")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A reading of the offer ``name``."""

    at_s: float
    name: str
    seen: Seen


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Processor seconds that the process that looks had used at a moment, with the programs it called."""

    at_s: float
    cpu_s: float


def offer_line(offer: Offer) -> str:
    """Written once for each, before the first reading."""
    return json.dumps({"offer": asdict(offer)}, separators=_COMPACT) + "\n"


def row_line(row: Row) -> str:
    """A reading."""
    record: dict[str, Any] = {"t": round(row.at_s, 6), "n": row.name, "v": row.seen.values}
    if row.seen.missing:
        record["m"] = row.seen.missing
    return json.dumps(record, separators=_COMPACT) + "\n"


def cost_line(cost: Cost) -> str:
    """A moment's cost."""
    return json.dumps({"t": round(cost.at_s, 6), "cost": cost.cpu_s}, separators=_COMPACT) + "\n"


def read(path: Path, begin_s: float, end_s: float) -> Iterator[Offer | Row | Cost]:
    """All offers, and what was written of a span of time, but no line that is still being written."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n") and (not line.startswith(_TIME) or begin_s <= _time_of(line) <= end_s):
                yield _parsed(json.loads(line))


def _time_of(line: str) -> float:
    return float(line[len(_TIME) : line.index(",")])


def _parsed(record: dict[str, Any]) -> Offer | Row | Cost:
    if "offer" in record:
        offer = record["offer"]
        for name in ("members", "quantities"):
            offer[name] = tuple(offer[name])
        return Offer(**offer)
    if "cost" in record:
        return Cost(at_s=record["t"], cpu_s=record["cost"])
    return Row(at_s=record["t"], name=record["n"], seen=Seen(values=record["v"], missing=record.get("m", {})))
