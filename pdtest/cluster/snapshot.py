"""What a cluster looks like at one moment, for whoever shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pdtest.environment.schema import Role


class MemberState(StrEnum):
    """Where a member is in its life."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    DIED = "died"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class MemberSnapshot:
    """One member. ``elapsed_s``: since its start; once it is ready, how long the start took."""

    name: str
    role: Role
    state: MemberState
    doing: str
    elapsed_s: float
    url: str


@dataclass(frozen=True, kw_only=True)
class Wait:
    """What a start waits for: a device, and who has it. ``left_s``: until the start gives up."""

    device: str
    holder: Mapping[str, Any]
    left_s: float


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The members that are being started, in the environment's order.

    Before that there may be none, and something that is waited for.
    """

    members: tuple[MemberSnapshot, ...]
    elapsed_s: float
    waiting: Wait | None = None

    @property
    def ready(self) -> bool:
        """All of them serve."""
        return all(member.state is MemberState.READY for member in self.members)
