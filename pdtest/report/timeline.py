"""A history as a picture made of text: one row for each request, one for each thing that befell a member."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pdtest.events.handoff import RequestAbandoned, RequestAnswered, RequestErrored
from pdtest.events.member import MemberDied, MemberReady, MemberRestarted
from pdtest.events.quiet import QuietSought
from pdtest.events.record import Event
from pdtest.history import Attempt, History

#: Columns of the bars; with names of members and what came of it a row fits into 80.
_BAR = 32
_ID = 12
_MEMBER = 10

LEGEND = "|= request   o answered   x error   ? given up   > no end   ! member"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One request to one member, or one thing that befell a member. ``said`` is what came of it.

    ``marks`` are what is drawn at which time; the first and the last are joined by ``line``.
    """

    who: str
    member: str
    marks: Sequence[tuple[float, str]]
    said: str = ""
    line: str = "="

    @property
    def begins(self) -> float:
        """When the first thing of it happened."""
        return self.marks[0][0]


def timeline(history: History) -> Iterator[str]:
    """Rows of 80 columns at most, in the order in which things began; times in seconds since the first."""
    rows = rows_of(history)
    if not rows:
        return
    begin, end = rows[0].begins, max(at for row in rows for at, _ in row.marks)
    scale = f"{'0 s':<{_BAR - 10}}{end - begin:>8.3f} s"
    yield f"{'':<{_ID + _MEMBER + 2}}{scale}"
    for row in rows:
        bar = _bar(row, begin, end - begin)
        yield f"{row.who:<{_ID}.{_ID}} {row.member:<{_MEMBER}.{_MEMBER}} {bar} {row.said}".rstrip()
    yield LEGEND


def rows_of(history: History) -> list[Row]:
    """What a timeline shows, in the order in which it began."""
    return sorted([*map(_attempt, history.attempts), *_befallen(history)], key=lambda row: row.begins)


def _bar(row: Row, begin: float, span: float) -> str:
    columns = [(round((at - begin) / span * (_BAR - 1)) if span else 0, mark) for at, mark in row.marks]
    cells = [" "] * _BAR
    cells[columns[0][0] : columns[-1][0]] = row.line * (columns[-1][0] - columns[0][0])
    for column, mark in columns:
        cells[column] = mark
    return "".join(cells)


def _attempt(attempt: Attempt) -> Row:
    marks = [(event.at, _mark(event)) for event in attempt.events]
    if len(marks) == 1 and attempt.sent:
        marks.append((attempt.events[0].at, ">"))
    return Row(
        who=attempt.request_id.removeprefix("pdtest-"),
        member=attempt.member,
        marks=marks,
        said=_ending(attempt.events[-1]),
    )


def _mark(event: Event) -> str:
    marks = {RequestAnswered: "o", RequestErrored: "x", RequestAbandoned: "?"}
    return marks.get(type(event), "|")


def _ending(event: Event) -> str:
    if isinstance(event, RequestAnswered):
        return f"{event.completion_tokens} tokens"
    if isinstance(event, RequestErrored):
        return f"{event.error} {event.status or ''}".rstrip()
    return "given up" if isinstance(event, RequestAbandoned) else "no end"


def _befallen(history: History) -> Iterator[Row]:
    for event in history.events:
        said = _said(event)
        if said is not None:
            member = str(getattr(event, "member", ""))
            yield Row(who="", member=member, marks=[(event.at, "!")], said=said)


def _said(event: Event) -> str | None:
    if isinstance(event, MemberDied):
        return f"died, exit {event.returncode}"
    if isinstance(event, MemberRestarted):
        return "starts again"
    if isinstance(event, MemberReady):
        return "ready"
    if isinstance(event, QuietSought):
        return "idle" if event.quiet else event.left
    return None
