"""Events in the life of a member."""

from __future__ import annotations

from pdtest.events.record import Event


class MemberStarting(Event):
    """A member was launched; it does not answer yet."""

    member: str
    role: str
    service: str
    url: str
    pid: int | None
    directory: str
    #: None: this machine.
    host: str | None = None


class MemberProgressed(Event):
    """Start-up reached a stage that its log gives away (loading weights, registering KV ...)."""

    member: str
    doing: str
    elapsed_s: float


class MemberReady(Event):
    """The member's readiness probe answered for the first time."""

    member: str
    elapsed_s: float


class MemberDied(Event):
    """A member ended without being told to."""

    member: str
    returncode: int
    diagnosis: str | None
    last_lines: tuple[str, ...]


class MemberRestarted(Event):
    """A dead member was started again on the same ports."""

    member: str
    generation: int


class MemberStopped(Event):
    """A member was ended by pdtest."""

    member: str
    returncode: int | None
    elapsed_s: float
