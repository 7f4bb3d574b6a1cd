"""Reading a run's directory, wherever it lies now."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from pdtest.compare import Comparison
from pdtest.compare.gains import FILE as TOPOLOGIES
from pdtest.compare.gains import Gains
from pdtest.errors import PdtestError
from pdtest.events import read
from pdtest.events.attached import DriftSeen, MemberSurveyed
from pdtest.events.record import Event
from pdtest.events.session import RunBegan, RunEnded
from pdtest.report.account.account import Account, Attached, EnvironmentShown, Session
from pdtest.report.account.breaks import breaks_of, recoveries_of
from pdtest.report.account.files import Files
from pdtest.report.account.journey import marks_of
from pdtest.report.account.loads import loads_of
from pdtest.report.account.members import lives_of
from pdtest.report.account.tests import tests_of

#: What a kill table is not one without.
_KILL_TABLE: Final = ("mutants", "killed", "survivors", "false_alarms")


class NotARun(PdtestError):
    """A directory that no run has made."""

    title = "not a run"

    def __init__(self, directory: Path) -> None:
        super().__init__(
            "nothing to report on",
            expected="a run's directory: events.jsonl, and what lies beside it",
            seen="no events.jsonl in it" if directory.is_dir() else "no such directory",
            where=str(directory),
            next_step="name one of .pdtest/runs, such as .pdtest/runs/latest",
        )


def read_account(directory: Path) -> Account:
    """The account of the run that left this directory. Raises NotARun."""
    run = directory.resolve()
    journal = run / "events.jsonl"
    if not journal.is_file():
        raise NotARun(directory)
    events = tuple(read(journal))
    files = Files(run)
    session = _session(run, events)
    tests = tuple(tests_of(run, events))
    account = Account(
        session=session,
        outcomes=dict(Counter(test.outcome for test in tests).most_common()),
        tests=tests,
        environments=tuple(files.each("*/environment.resolved.yaml", _environment)),
        members=tuple(lives_of(run, events)),
        attached=tuple(_attached(events)),
        marks=tuple(marks_of(events, session.began_at or 0.0)),
        breaks=tuple(breaks_of(events)),
        recoveries=tuple(recoveries_of(events)),
        loads=tuple(loads_of(files)),
        # Made while it ran: the report needs no baseline.
        comparisons=tuple(files.each("*/comparison*.json", _comparison)),
        topologies=tuple(files.each(f"*/{TOPOLOGIES}", _gains)),
        kills=next(files.each("kills.json", _kills), None),
    )
    return account.model_copy(update={"unreadable": files.unreadable})


def _session(run: Path, events: Sequence[Event]) -> Session:
    began = next((event for event in events if isinstance(event, RunBegan)), None)
    # Each of several workers tells of its end.
    ended = next((event for event in reversed(events) if isinstance(event, RunEnded)), None)
    if began is None:
        return Session(run=run.name, began_at=events[0].at if events else None)
    return Session(
        run=began.run,
        began_at=began.at,
        took_s=ended.took_s if ended else None,
        status=ended.status if ended else None,
        **began.model_dump(
            include={
                "seed",
                "argv",
                "host",
                "system",
                "processor",
                "cores",
                "memory_bytes",
                "python",
                "versions",
            }
        ),
    )


def _environment(file: Path) -> EnvironmentShown:
    text = file.read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text) or {}
    return EnvironmentShown(
        name=file.parent.name,
        description=data.get("description") or "",
        contract=tuple((data.get("connector") or {}).get("contract") or ()),
        text=text,
    )


def _comparison(file: Path) -> Comparison:
    return Comparison.model_validate_json(file.read_text(encoding="utf-8"))


def _gains(file: Path) -> Gains:
    return Gains.model_validate_json(file.read_text(encoding="utf-8"))


def _kills(file: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if missing := [name for name in _KILL_TABLE if name not in table]:
        raise ValueError(f"no {', '.join(missing)}")
    return table


def _attached(events: Sequence[Event]) -> Iterator[Attached]:
    """Each member that somebody else runs, as it was seen last."""
    seen = {event.member: event for event in events if isinstance(event, MemberSurveyed)}
    drifts = [event for event in events if isinstance(event, DriftSeen)]
    for member, event in seen.items():
        own = dict.fromkeys(
            f"{drift.what}: {drift.seen}, the environment has {drift.expected}"
            for drift in drifts
            if drift.member == member
        )
        yield Attached(
            member=member,
            role=event.role,
            url=event.url,
            version=event.version,
            connector=event.connector,
            drifts=tuple(own),
        )
