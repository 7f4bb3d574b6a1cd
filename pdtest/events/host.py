"""Events about hosts that members are started on."""

from __future__ import annotations

from pdtest.events.record import Event


class HostReached(Event):
    """A host was reached. Our clock plus ``clock_offset_s`` is the host's, to within ``clock_error_s``."""

    host: str
    #: Whose place it is, where a host has one for each member.
    member: str | None = None
    address: str
    python: str
    clock_offset_s: float
    clock_error_s: float
