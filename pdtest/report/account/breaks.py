"""What was broken on purpose, and how the service came back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pdtest.events.fault import FaultArmed, FaultLifted, FaultVerified, Recovered
from pdtest.events.record import Event
from pdtest.report.account.account import Break, Recovery


def breaks_of(events: Sequence[Event]) -> Iterator[Break]:
    """Each fault that was armed, with what was seen of it until it, or the next of the same, was over."""
    for place, event in enumerate(events):
        if isinstance(event, FaultArmed):
            after = [*_same(events[place + 1 :], event)]
            verified = next((one for one in after if isinstance(one, FaultVerified)), None)
            lifted = next((one for one in after if isinstance(one, FaultLifted)), None)
            yield Break(
                fault=event.fault,
                target=event.target,
                test=event.test,
                armed_at=event.at,
                seen=verified.seen if verified else None,
                seen_after_s=verified.after_s if verified else None,
                lasted_s=lifted.lasted_s if lifted else None,
            )


def _same(events: Sequence[Event], armed: FaultArmed) -> Iterator[FaultVerified | FaultLifted]:
    for event in events:
        if isinstance(event, FaultArmed | FaultVerified | FaultLifted):
            if (event.fault, event.target, event.test) != (armed.fault, armed.target, armed.test):
                continue
            if isinstance(event, FaultArmed):
                return
            yield event


def recoveries_of(events: Sequence[Event]) -> Iterator[Recovery]:
    """The slowest first."""
    found = [event for event in events if isinstance(event, Recovered)]
    for event in sorted(found, key=lambda event: -event.took_s):
        yield Recovery(scenario=event.scenario, test=event.test, took_s=event.took_s, attempts=event.attempts)
