"""Events about members that somebody else runs."""

from __future__ import annotations

from pdtest.events.record import Event


class MemberSurveyed(Event):
    """What a member that is attached to says of itself; None where it does not tell."""

    member: str
    role: str
    url: str
    models: tuple[str, ...] | None
    version: str | None
    max_model_len: int | None
    block_size: str | None
    connector: str | None
    kv_role: str | None


class DriftSeen(Event):
    """A member is not what the environment claims. ``hard``: nothing can be tested before that is mended."""

    environment: str
    member: str
    what: str
    expected: str
    seen: str
    hard: bool
