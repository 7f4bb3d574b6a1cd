"""Two builds held against each other: for the terminal, 80 columns wide, and as Markdown."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.table import Table

from pdtest.compare import Change, Comparison, Side
from pdtest.results.amount import counted, entry, signed

WIDTH: Final = 80
#: Units that numbers are shown with; the names of other measures have theirs in them.


def table(comparison: Comparison, *, everything: bool = False) -> str:
    """What was judged, the worst first; with ``everything`` also what is only shown."""
    verdict = f"{comparison.verdict.upper()}: {comparison.why}"
    lines = [_title(comparison), textwrap.fill(verdict, WIDTH, subsequent_indent="  ")]
    lines += [textwrap.fill(note, WIDTH, subsequent_indent=" " * 5) for note in _notes(comparison)]
    shown = [change for change in comparison.changes if change.judged or everything]
    if shown:
        lines += ["", _drawn(shown, comparison.why)]
    left = len(comparison.changes) - len(shown)
    if left:
        lines += ["", f"{counted(left, 'measure')} more, not judged: --all"]
    return "\n".join(lines)


def markdown(comparison: Comparison) -> str:
    """For a pull request: what was judged."""
    lines = [
        f"### {comparison.verdict.upper()}: {_title(comparison)}",
        "",
        _plain(comparison.why),
        *(f"- {_plain(note)}" for note in _notes(comparison)),
    ]
    judged = [change for change in comparison.changes if change.judged]
    if judged:
        lines += [
            "",
            f"| measure | {comparison.old.name} | {comparison.new.name} | change (90 %) | verdict |",
        ]
        lines += ["|---|--:|--:|--:|---|"]
        lines += [
            f"| {change.measure} | {' | '.join(_middles(change))} | {_change(change)} ({_interval(change)}) "
            f"| {change.verdict}: {_plain(change.why)} |"
            for change in judged
        ]
    return "\n".join(lines) + "\n"


def _title(comparison: Comparison) -> str:
    return f"{comparison.environment}, {comparison.target}, {comparison.workload}"


def _notes(comparison: Comparison) -> Iterator[str]:
    """What to know of the runs before reading numbers."""
    yield f"old  {_side(comparison.old)}"
    yield f"new  {_side(comparison.new)}"
    if comparison.old.sessions == 1 and comparison.old.name != comparison.new.name:
        yield "     measured in one session: what that one was off by counts as the build's"
    for side in (comparison.old, comparison.new):
        for reason in side.reasons:
            yield f"left out of {side.name}: {reason}"
    for what, old, new in comparison.differs:
        yield f"differs: {what}: {old} / {new}"


def _side(side: Side) -> str:
    versions = dict.fromkeys(side.build.values())
    build = ", ".join(
        f"{' '.join(name for name, other in side.build.items() if other == version)} {version}"
        for version in versions
    )
    invalid = f", {side.invalid} INVALID" if side.invalid else ""
    sessions = f" in {side.sessions} sessions" if side.sessions > 1 else ""
    return f"{side.name}: {counted(side.runs, 'run')}{sessions}{invalid}" + (f"; {build}" if build else "")


def _drawn(changes: Iterable[Change], known: str) -> str:
    """Rows under the verdict that they have in common. ``known`` was said above."""
    drawn = Table(box=None, pad_edge=False, show_edge=False)
    drawn.add_column("median of runs", no_wrap=True)
    for heading in ("old", "new", "change", "90 %", "p"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for verdict, rows in groupby(changes, key=lambda change: change.verdict):
        drawn.add_row((verdict or "only shown").upper())
        for change in rows:
            drawn.add_row(
                f"  {change.measure}",
                *_middles(change),
                _change(change),
                _interval(change),
                _chance(change),
            )
            if change.why and verdict == "inconclusive" and change.why != known:
                drawn.add_row(f"    {change.why}")
    return _text(drawn)


def _middles(change: Change) -> tuple[str, str]:
    return entry(change.old_middle, change.unit), entry(change.new_middle, change.unit)


def _change(change: Change) -> str:
    """As a share; of shares, and of what was 0, the difference."""
    if change.difference is None:
        return ""
    if change.unit == "1":
        return signed(change.difference)
    return entry(change.difference, change.unit) if change.relative is None else signed(change.relative)


def _interval(change: Change) -> str:
    ends = change.interval if change.unit == "1" else change.relative_interval
    return f"{signed(ends[0]).removesuffix(' %')}..{signed(ends[1])}" if ends else ""


def _chance(change: Change) -> str:
    """Of the way that it went."""
    known = [chance for chance in (change.p_worse, change.p_better) if chance is not None]
    return f"{min(known):.2g}" if known else ""


def _text(drawn: Table) -> str:
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, highlight=False)
    console.print(drawn)
    assert isinstance(console.file, io.StringIO)  # noqa: S101
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def _plain(text: str) -> str:
    """On one line, and no table's end."""
    return " ".join(text.split()).replace("|", "\\|")
