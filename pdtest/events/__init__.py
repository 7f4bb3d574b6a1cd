"""Typed records of everything that happens in a run."""

from pdtest.events.attached import DriftSeen, MemberSurveyed
from pdtest.events.fault import FaultArmed, FaultLifted, FaultVerified, Recovered
from pdtest.events.handoff import (
    HandoffFinished,
    HopRecord,
    RequestAbandoned,
    RequestAnswered,
    RequestErrored,
    RequestSent,
)
from pdtest.events.host import HostReached
from pdtest.events.journal import Journal, read
from pdtest.events.load import LoadMeasured
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
from pdtest.events.scaling import Scaled
from pdtest.events.session import RunBegan, RunEnded, TestEnded
from pdtest.events.verdict import VerdictReached
from pdtest.events.xray import XrayTaken

__all__ = [
    "DriftSeen",
    "Event",
    "FaultArmed",
    "FaultLifted",
    "FaultVerified",
    "HandoffFinished",
    "HopRecord",
    "HostReached",
    "Journal",
    "LoadMeasured",
    "MemberDied",
    "MemberProgressed",
    "MemberReady",
    "MemberRestarted",
    "MemberStarting",
    "MemberStopped",
    "MemberSurveyed",
    "QuietSought",
    "Recovered",
    "RequestAbandoned",
    "RequestAnswered",
    "RequestErrored",
    "RequestSent",
    "RunBegan",
    "RunEnded",
    "Scaled",
    "TestEnded",
    "UnknownEvent",
    "VerdictReached",
    "XrayTaken",
    "from_json",
    "read",
]
