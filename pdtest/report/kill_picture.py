"""The kill table as a picture: a row for each mutant, a column for each suite."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pdtest.kills.table import Cell, KillTable, Outcome
from pdtest.report.kills import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {
    Outcome.KILLED: "#cfe8cf",
    Outcome.SURVIVED: "#e06060",
    Outcome.OPEN: "#e0a060",
    Outcome.BROKEN: "#e0a060",
    Outcome.UNSEEN: "#f2f2f2",
}
#: Inches.
_ROW, _MARGIN, _NAME, _SUITE = 0.19, 1.0, 3.0, 3.1
#: Characters of a test's name that fit into a column.
_FITS = 62


def picture(table: KillTable, file: Path) -> Path | None:
    """Into ``file``; its ending says the format: .png or .svg. None where matplotlib is not installed."""
    content = drawn(table, file.suffix.removeprefix("."))
    if content is None:
        return None
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def drawn(table: KillTable, form: str = "png") -> bytes | None:
    """The picture itself, ``form``: png or svg. None where matplotlib is not installed."""
    figure = _figure(table)
    if figure is None:
        return None
    content = BytesIO()
    figure.savefig(content, format=form, dpi=110)
    return content.getvalue()


def _figure(table: KillTable) -> Figure | None:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return None
    rows, suites = list(table.rows()), table.suites
    size = (_NAME + _SUITE * len(suites), _MARGIN + _ROW * (len(rows) + len(table.false_alarms)))
    # Not by way of pyplot, which keeps figures and has a backend for all: pytest's process is not ours.
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for line, (mutant, cells) in enumerate(rows):
        for column, suite in enumerate(suites):
            _draw(axes, line, column, cells[suite], _said(cells[suite], table.environment, mutant.name))
    axes.set_xlim(-0.5, max(len(suites), 1) - 0.5)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.set_xticks(range(len(suites)), list(suites))
    axes.set_yticks(range(len(rows)), [f"{one.name}  {','.join(one.bugs)}" for one, _ in rows], fontsize=7)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    figure.suptitle(_title(table), fontsize=9, color="black" if table.clean else "#b00000")
    return figure


def _draw(axes: Axes, line: int, column: int, cell: Cell, text: str) -> None:
    from matplotlib.patches import Rectangle

    colour = _COLOURS[cell.outcome]
    axes.add_patch(Rectangle((column - 0.49, line - 0.46), 0.98, 0.92, color=colour, linewidth=0))
    fitting = text if len(text) <= _FITS else text[: _FITS - 1] + "…"
    axes.text(column - 0.47, line, fitting, fontsize=6.5, va="center", clip_on=True)


def _said(cell: Cell, *known: str) -> str:
    if cell.outcome is Outcome.KILLED:
        return f"{cell.seconds:.1f} s  {short(cell.test, *known)}"
    return f"{cell.outcome}  {cell.located}".strip()


def _title(table: KillTable) -> str:
    killed = len(table.mutants) - len(table.survivors)
    lines = [
        f"{killed} of {len(table.mutants)} mutants killed on {table.environment} in {table.took_s:.0f} s"
    ]
    lines += [f"false alarm: {test}" for test in table.false_alarms]
    return "\n".join(lines)
