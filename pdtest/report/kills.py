"""The kill table as text, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pdtest.kills.table import Cell, KillTable, Outcome
from pdtest.report.paragraph import paragraph

WIDTH = 80
_STYLES = {
    Outcome.KILLED: "green",
    Outcome.SURVIVED: "bold red",
    Outcome.OPEN: "bold red",
    Outcome.BROKEN: "bold red",
    Outcome.UNSEEN: "dim",
}


def kill_table(table: KillTable) -> str:
    """The table, with what is wrong and what was left out below it."""
    console = Console(width=WIDTH, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(_grid(table))
        for line in _below(table):
            console.print(line, markup=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _grid(table: KillTable) -> Table:
    grid = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, width=WIDTH)
    grid.add_column("mutant", no_wrap=True, width=25, overflow="ellipsis")
    grid.add_column("class", no_wrap=True, width=6)
    for suite in table.suites:
        grid.add_column(suite, no_wrap=True, overflow="ellipsis", ratio=1)
    for mutant, cells in table.rows():
        shown = (_shown(cells[suite], table.environment, mutant.name) for suite in table.suites)
        grid.add_row(mutant.name, ",".join(mutant.bugs), *shown)
    return grid


def _shown(cell: Cell, *known: str) -> Text:
    if cell.outcome is Outcome.KILLED:
        return Text(f"{cell.seconds:4.1f} s {short(cell.test, *known)}")
    return Text(str(cell.outcome), style=_STYLES[cell.outcome])


def short(test: str, *known: str) -> str:
    """The test's own name and parameters, without those that are ``known``: environment and mutant."""
    name, _, parameters = test.rpartition("::")[2].partition("[")
    own = f"-{parameters.removesuffix(']')}-"
    for one in known:
        own = own.replace(f"-{one}-", "-")
    own = own.strip("-")
    return name.removeprefix("test_") + (f"[{own}]" if own else "")


def _below(table: KillTable) -> Iterator[str]:
    killed = len(table.mutants) - len(table.survivors)
    yield ""
    yield f"{killed} of {len(table.mutants)} mutants killed on {table.environment} in {table.took_s:.0f} s"
    for mutant in table.survivors:
        reasons = [
            f"{suite}: {cell.outcome} {cell.located}".rstrip()
            for suite in table.suites
            if (cell := table.cell(mutant, suite)).outcome is not Outcome.KILLED
        ]
        yield from paragraph(f"survived: {mutant.name} ({mutant.does}); {'; '.join(reasons)}")
    for test in table.false_alarms:
        yield f"false alarm, with no bug planted: {test}"
    for reason in dict.fromkeys(table.absent.values()):
        names = [name for name, why in table.absent.items() if why == reason]
        yield f"{len(names)} not planted, since {reason}"
