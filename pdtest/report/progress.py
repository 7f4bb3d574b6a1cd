"""What the terminal shows while members start."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pdtest.cluster.snapshot import MemberSnapshot, MemberState, Snapshot

_STYLES = {
    MemberState.IDLE: "dim",
    MemberState.STARTING: "yellow",
    MemberState.READY: "green",
    MemberState.DIED: "bold red",
    MemberState.STOPPED: "dim",
}


_WIDEST = 100


class Progress:
    """Give it to `Cluster.start` as ``watch``, inside its context.

    On a terminal a table that redraws itself; elsewhere, as in CI logs, a line for each change.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._shown: dict[str, tuple[MemberState, str]] = {}
        self._last: Snapshot | None = None

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __call__(self, snapshot: Snapshot) -> None:
        """Show how things are now."""
        self._last = snapshot
        if self._console.is_terminal:
            self._live.update(_table(snapshot, min(self._console.width, _WIDEST)), refresh=True)
        else:
            self._print_changes(snapshot)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last picture, and one line that sums up when all went well."""
        self._live.stop()
        last = self._last
        if kind is None and last is not None and last.members and last.ready:
            noun = "member" if len(last.members) == 1 else "members"
            self._print(f"{len(last.members)} {noun} ready in {last.elapsed_s:.1f} s")

    def _print_changes(self, snapshot: Snapshot) -> None:
        for member in snapshot.members:
            now = (member.state, member.doing)
            if self._shown.get(member.name) != now:
                self._shown[member.name] = now
                self._print(f"[{snapshot.elapsed_s:5.1f}s] {member.name}: {_in_words(member)}")

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


def _in_words(member: MemberSnapshot) -> str:
    if member.state is MemberState.STARTING:
        return member.doing
    return f"died, last seen {member.doing}" if member.state is MemberState.DIED else str(member.state)


def _table(snapshot: Snapshot, width: int) -> Table:
    """``width`` is fixed so that the table does not jump about; what a member does takes what is left."""
    table = Table(box=None, pad_edge=False, header_style="dim", width=width)
    table.add_column("member", no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("role", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("doing", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("elapsed", justify="right", no_wrap=True)
    for member in snapshot.members:
        table.add_row(
            member.name,
            str(member.role),
            Text(str(member.state), style=_STYLES[member.state]),
            Text(member.doing),
            f"{member.elapsed_s:.1f} s",
        )
    return table
