"""Typed records of everything that happens in a run."""

from pdtest.events.handoff import (
    HandoffFinished,
    HopRecord,
    RequestAbandoned,
    RequestAnswered,
    RequestErrored,
    RequestSent,
)
from pdtest.events.journal import Journal, read
from pdtest.events.member import (
    MemberDied,
    MemberProgressed,
    MemberReady,
    MemberRestarted,
    MemberStarting,
    MemberStopped,
)
from pdtest.events.quiet import QuietSought
from pdtest.events.record import Event, UnknownEvent, from_json
from pdtest.events.verdict import VerdictReached

__all__ = [
    "Event",
    "HandoffFinished",
    "HopRecord",
    "Journal",
    "MemberDied",
    "MemberProgressed",
    "MemberReady",
    "MemberRestarted",
    "MemberStarting",
    "MemberStopped",
    "QuietSought",
    "RequestAbandoned",
    "RequestAnswered",
    "RequestErrored",
    "RequestSent",
    "UnknownEvent",
    "VerdictReached",
    "from_json",
    "read",
]
