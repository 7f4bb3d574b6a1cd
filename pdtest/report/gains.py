"""What topologies gain over one another, for the terminal: 80 columns."""

from __future__ import annotations

import io
import statistics
import textwrap
from collections.abc import Iterator
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from pdtest.compare.comparison import Change
from pdtest.compare.gains import Gains
from pdtest.compare.verdict import Verdict
from pdtest.oracle.claims import ratio
from pdtest.report.performance import WIDTH
from pdtest.results.amount import amount

#: What a verdict on two builds says of two topologies.
WORDS: Final = {
    Verdict.IMPROVED: "better",
    Verdict.FAIL: "worse",
    Verdict.PASS: "same",
    Verdict.INCONCLUSIVE: "open",
    Verdict.INVALID: "invalid",
}


def gains_table(gains: Gains) -> str:
    """Medians of each topology; of each pair the ratio, its interval and the verdict; claims."""
    hardware = [f"  {name}: {told}" for name, told in gains.hardware.items()]
    lines = [f"{gains.environment}: topologies under {gains.workload}", *hardware]
    if gains.unequal:
        lines.append(gains.unequal)
    lines += [_drawn(_values(gains)), _drawn(_pairs(gains))]
    lines += [f"{one.topology}, {one.measure}: {one.text}" for one in gains.claims]
    lines += gains.notes
    return "\n".join(_wrapped(lines))


def cell(values: tuple[float, ...], unit: str) -> str:
    """The median over runs."""
    return amount(statistics.median(values), unit) if values else "-"


def word(change: Change) -> str:
    """How it went."""
    return WORDS[change.verdict] if change.verdict else ""


def over(change: Change) -> tuple[str, str]:
    """The new value over the old one, and the interval of that; empty where they cannot be told."""
    told = ratio(change)
    return (f"{told[0]:.2f}", f"{told[1]:.2f} to {told[2]:.2f}") if told else ("", "")


def _values(gains: Gains) -> Table:
    drawn = _table("median of runs", *gains.names)
    for measure in gains.measures:
        runs = [gains.runs(name, measure) for name in gains.names]
        if any(runs):
            drawn.add_row(measure, *(cell(values, gains.unit(measure)) for values in runs))
    return drawn


def _pairs(gains: Gains) -> Table:
    drawn = _table("one over the other", "ratio", "90 %", "p", "verdict")
    for pair in gains.comparisons:
        drawn.add_row(f"{pair.new.name} / {pair.old.name}", "", "", "", "")
        for change in (found for name in gains.measures if (found := gains.change(pair, name))):
            drawn.add_row(f"  {change.measure}", *over(change), _chance(change), word(change))
    return drawn


def _chance(change: Change) -> str:
    known = [chance for chance in (change.p_worse, change.p_better) if chance is not None]
    return f"{min(known):.2g}" if known else ""


def _table(first: str, *others: str) -> Table:
    drawn = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    drawn.add_column(first, no_wrap=True)
    for name in others:
        drawn.add_column(name, justify="right")
    return drawn


def _drawn(table: Table) -> str:
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, highlight=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)  # noqa: S101
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def _wrapped(lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield line if "\n" in line else textwrap.fill(line, WIDTH, subsequent_indent="    ")
