"""Events of a deployment that grows and shrinks."""

from __future__ import annotations

from typing import Literal

from pdtest.events.record import Event


class Scaled(Event):
    """A router was told of a member that serves now, or was let go of one, which was ended then.

    ``now``: how many of this role the router has since. ``took_s``: to start it, or from when it was removed
    until it was ended. ``left``: what it still had to do when it was ended all the same; empty: nothing.
    """

    router: str
    member: str
    role: str
    change: Literal["added", "removed"]
    now: int
    wanted: int
    took_s: float
    left: str = ""
