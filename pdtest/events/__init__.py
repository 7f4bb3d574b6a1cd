"""Typed records of everything that happens in a run."""

from pdtest.events.journal import Journal, read
from pdtest.events.member import (
    MemberDied,
    MemberProgressed,
    MemberReady,
    MemberRestarted,
    MemberStarting,
    MemberStopped,
)
from pdtest.events.record import Event, UnknownEvent, from_json

__all__ = [
    "Event",
    "Journal",
    "MemberDied",
    "MemberProgressed",
    "MemberReady",
    "MemberRestarted",
    "MemberStarting",
    "MemberStopped",
    "UnknownEvent",
    "from_json",
    "read",
]
