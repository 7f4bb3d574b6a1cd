"""What the terminal shows while members start."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pdtest.cluster.snapshot import MemberSnapshot, MemberState, Snapshot, Wait
from pdtest.launch.lease import introduced

_STYLES = {
    MemberState.IDLE: "dim",
    MemberState.STARTING: "yellow",
    MemberState.READY: "green",
    MemberState.DIED: "bold red",
    MemberState.STOPPED: "dim",
}


_WIDEST = 100
_REMINDER_S = 60.0


class Changes:
    """What each snapshot of a start tells that the one before did not."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[MemberState, str]] = {}
        self._waited_for: tuple[object, ...] = ()

    def lines(self, snapshot: Snapshot) -> Iterator[str]:
        """None, mostly: snapshots come ten times a second."""
        if snapshot.waiting is not None:
            yield from self._wait(snapshot.waiting, snapshot.elapsed_s)
            return
        for member in snapshot.members:
            now = (member.state, member.doing)
            if self._shown.get(member.name) != now:
                self._shown[member.name] = now
                yield f"[{snapshot.elapsed_s:5.1f}s] {member.name}: {_in_words(member)}"

    def _wait(self, wait: Wait, elapsed_s: float) -> Iterator[str]:
        """Who it is for, and again every minute: who looks at a log in CI sees that it goes on."""
        now = (wait.device, wait.holder.get("owner"), wait.holder.get("pid"), elapsed_s // _REMINDER_S)
        if now != self._waited_for:
            self._waited_for = now
            yield f"[{elapsed_s:5.1f}s] {_awaited(wait)}"


class Progress:
    """Give it to `Cluster.start` as ``watch``, inside its context.

    On a terminal a table that redraws itself; elsewhere, as in CI logs, a line for each change.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._changes = Changes()
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
            width = min(self._console.width, _WIDEST)
            told = _table(snapshot, width) if snapshot.waiting is None else Text(_awaited(snapshot.waiting))
            self._live.update(told, refresh=True)
        else:
            for line in self._changes.lines(snapshot):
                self._print(line)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last picture, and one line that sums up when all went well."""
        self._live.stop()
        last = self._last
        if kind is None and last is not None and last.members and last.ready:
            self._print(all_ready(last))

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


def all_ready(snapshot: Snapshot) -> str:
    """The line that sums up."""
    noun = "member" if len(snapshot.members) == 1 else "members"
    return f"{len(snapshot.members)} {noun} ready in {snapshot.elapsed_s:.1f} s"


def _awaited(wait: Wait) -> str:
    who = introduced(dict(wait.holder)) or "somebody who has written nothing of it"
    return f"waiting up to {wait.left_s:.0f} s more for {wait.device}, held by {who}"


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
