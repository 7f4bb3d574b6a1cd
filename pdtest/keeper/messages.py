"""What goes over the keeper's socket: pickled, between processes of one user on one machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pdtest.cluster.member import Reflection
from pdtest.cluster.snapshot import Snapshot
from pdtest.events.record import Event


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A call of one of `Keeper.CALLS`."""

    call: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Progress:
    """While a call goes on: how far members are."""

    snapshot: Snapshot


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The call is over: its value or what it raised, and how members are now."""

    value: Any = None
    error: BaseException | None = None
    members: tuple[Reflection, ...] = ()


@dataclass(frozen=True, kw_only=True)
class News:
    """Something happened, whoever caused it. ``member``: how that one is, where it is about one."""

    event: Event
    member: Reflection | None


@dataclass(frozen=True, kw_only=True)
class Busy:
    """Somebody else has the cluster; the call waits."""

    holder: str
    for_s: float
