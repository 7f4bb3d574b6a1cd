"""Events of breaking a deployment on purpose.

A fault is armed, verified and lifted, each at most once. One that was armed and never verified had no effect
that anybody saw; what the test found then proves nothing. Times are seconds.
"""

from __future__ import annotations

from pdtest.events.record import Event


class FaultArmed(Event):
    """Something was broken. ``target`` is a member, or a link such as ``* -> prefill:side_channel``."""

    fault: str
    target: str
    test: str


class FaultVerified(Event):
    """It was seen from outside that it took effect: ``seen`` says how, ``after_s`` since it was armed."""

    fault: str
    target: str
    test: str
    seen: str
    after_s: float


class FaultLifted(Event):
    """Nothing is broken any more, as far as pdtest did it. ``lasted_s`` since it was armed."""

    fault: str
    target: str
    test: str
    lasted_s: float


class Recovered(Event):
    """The service answers rightly again, ``took_s`` after mending began, at the last attempt."""

    scenario: str
    test: str
    took_s: float
    attempts: int
