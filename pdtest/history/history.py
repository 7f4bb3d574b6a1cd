"""A run's events, sorted by request.

In the words of Jepsen: a request is invoked, and ends as ok (answered), fail (errored), or info (abandoned:
what the server did of it is unknown). Nothing here asks a server: a history that CI has kept is checked like
one that has just ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pdtest.events.handoff import (
    HandoffFinished,
    RequestAbandoned,
    RequestAnswered,
    RequestErrored,
    RequestSent,
)
from pdtest.events.member import MemberStarting
from pdtest.events.quiet import QuietSought
from pdtest.events.record import Event

Ending = RequestAnswered | RequestErrored | RequestAbandoned
RequestEvent = RequestSent | Ending


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One request to one member, and all that was heard of it, in order: usually two events."""

    member: str
    request_id: str
    events: tuple[RequestEvent, ...]

    @property
    def sent(self) -> RequestSent | None:
        """What was asked."""
        return next((event for event in self.events if isinstance(event, RequestSent)), None)

    @property
    def answer(self) -> RequestAnswered | None:
        """What was answered; None when nothing, or not completely."""
        return next((event for event in self.events if isinstance(event, RequestAnswered)), None)

    @property
    def params(self) -> Mapping[str, Any]:
        """The kv_transfer_params it was sent with."""
        return (self.sent and self.sent.params) or {}

    def __str__(self) -> str:
        return f"{self.request_id} to {self.member}"


@dataclass(frozen=True)
class History:
    """Events in the order in which they happened."""

    events: tuple[Event, ...]

    @classmethod
    def of(cls, events: Iterable[Event]) -> History:
        """The history of ``events``, in the order in which they are given."""
        return cls(tuple(events))

    @cached_property
    def attempts(self) -> tuple[Attempt, ...]:
        """In the order in which they were first heard of."""
        heard: dict[tuple[str, str], list[RequestEvent]] = {}
        for event in self.events:
            if isinstance(event, RequestEvent):
                heard.setdefault((event.member, event.request_id), []).append(event)
        return tuple(
            Attempt(member=member, request_id=request_id, events=tuple(events))
            for (member, request_id), events in heard.items()
        )

    @cached_property
    def roles(self) -> Mapping[str, str]:
        """Of the members that were started, or attached to."""
        return {event.member: event.role for event in self.events if isinstance(event, MemberStarting)}

    def starts_of(self, member: str) -> tuple[MemberStarting, ...]:
        """The starts of a member, which say what it is."""
        starts = (event for event in self.events if isinstance(event, MemberStarting))
        return tuple(event for event in starts if event.member == member)

    @cached_property
    def falsified(self) -> frozenset[str]:
        """Ids of the requests whose parameters a test has tampered with."""
        ended = (event for event in self.events if isinstance(event, HandoffFinished))
        return frozenset(event.request_id for event in ended if event.tampered)

    @cached_property
    def last_looks(self) -> Mapping[str, QuietSought]:
        """By member: how it was found when it was last looked at."""
        return {event.member: event for event in self.events if isinstance(event, QuietSought)}
