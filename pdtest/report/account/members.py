"""What became of each member."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pdtest.events.member import MemberDied, MemberReady, MemberStarting, MemberStopped
from pdtest.events.quiet import QuietSought
from pdtest.events.record import Event
from pdtest.report.account.account import Life, Spell

#: Lines and bytes of a log's end that are kept.
_LINES: Final = 40
_BYTES: Final = 20_000


def lives_of(run: Path, events: Sequence[Event]) -> Iterator[Life]:
    """Of each member of each environment, in the order in which they were started first."""
    starts: dict[tuple[str, str], list[int]] = {}
    for place, event in enumerate(events):
        if isinstance(event, MemberStarting):
            starts.setdefault((_environment(event), event.member), []).append(place)
    for (environment, member), places in starts.items():
        first = events[places[0]]
        assert isinstance(first, MemberStarting)  # noqa: S101
        folder = run / environment / "members" / member
        yield Life(
            environment=environment,
            member=member,
            role=first.role,
            service=first.service,
            url=first.url,
            spells=tuple(_spells(events, places, environment)),
            log=_tail(folder / f"{member}.log"),
            files=tuple(sorted(str(file.relative_to(run)) for file in folder.glob("*") if file.is_file())),
            last_look=_last_look(events, places),
        )


def _environment(event: MemberStarting) -> str:
    """Its folder is ``<run>/<environment>/members/<member>``; that of an attached member likewise."""
    parts = Path(event.directory).parts
    return parts[-3] if len(parts) >= 3 else ""  # noqa: PLR2004 - environment, members, name


def _spells(events: Sequence[Event], places: Sequence[int], environment: str) -> Iterator[Spell]:
    for number, place in enumerate(places):
        start = events[place]
        assert isinstance(start, MemberStarting)  # noqa: S101
        end = places[number + 1] if number + 1 < len(places) else len(events)
        own = list(_until_next(events[place + 1 : end], start.member, environment))
        ready = next((event for event in own if isinstance(event, MemberReady)), None)
        over = next((event for event in own if isinstance(event, MemberDied | MemberStopped)), None)
        yield Spell(
            started_at=start.at,
            ready_at=ready.at if ready else None,
            ended_at=over.at if over else None,
            ended="running" if over is None else "died" if isinstance(over, MemberDied) else "stopped",
            returncode=over.returncode if over else None,
            diagnosis=over.diagnosis if isinstance(over, MemberDied) else None,
            last_lines=over.last_lines if isinstance(over, MemberDied) else (),
        )


def _until_next(events: Sequence[Event], member: str, environment: str) -> Iterator[Event]:
    """Those of this member: another environment may have one of the same name, after it."""
    for event in events:
        if getattr(event, "member", None) != member:
            continue
        if isinstance(event, MemberStarting) and _environment(event) != environment:
            return
        yield event


def _last_look(events: Sequence[Event], places: Sequence[int]) -> str | None:
    start = events[places[0]]
    assert isinstance(start, MemberStarting)  # noqa: S101
    looks = _until_next(events[places[0] :], start.member, _environment(start))
    last = next(reversed([event for event in looks if isinstance(event, QuietSought)]), None)
    if last is None:
        return None
    return "idle" if last.quiet else last.left


def _tail(file: Path) -> str:
    if not file.is_file():
        return ""
    with file.open("rb") as log:
        log.seek(max(file.stat().st_size - _BYTES, 0))
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_LINES:])
