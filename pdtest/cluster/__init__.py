"""A running environment: its members, their life cycle and their logs."""

from pdtest.cluster.cluster import Cluster, Watch
from pdtest.cluster.incident import MemberDiedError, StartCancelled, StartFailed, died_later
from pdtest.cluster.log import LogMark, MemberLog
from pdtest.cluster.member import RunningMember
from pdtest.cluster.placement import PlacementError
from pdtest.cluster.snapshot import MemberSnapshot, MemberState, Snapshot
from pdtest.cluster.stream import LogStream

__all__ = [
    "Cluster",
    "LogMark",
    "LogStream",
    "MemberDiedError",
    "MemberLog",
    "MemberSnapshot",
    "MemberState",
    "PlacementError",
    "RunningMember",
    "Snapshot",
    "StartCancelled",
    "StartFailed",
    "Watch",
    "died_later",
]
