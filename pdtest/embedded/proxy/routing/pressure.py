"""How much more prefill has to do than decode, smoothed."""

from __future__ import annotations

import math

#: A step of it is followed to 63 % in so many seconds.
_FOLLOWS_S = 1.0
#: Nearer than this it is there: else it would never quite be back.
_NEAR = 0.01


class Pressure:
    """A level between -1 and 1 that follows busy(prefill) - busy(decode), by the law below.

        level += (seen - level) * (1 - exp(-dt / 1 s))

    A constant difference is approached from one side and reached; the level never leaves what was seen.
    Since a higher level means less work for prefill, it is a negative feedback of first order: it comes to
    rest where what prefill is then given is what makes the level. With shares that are seen as the mean of
    the last 2 s it does so unless the share moves by more than some 5 per level, as simulations show; where
    it does, because most prompts are of one length near the threshold, it swings to both sides of that.
    """

    def __init__(self) -> None:
        self.level = 0.0

    def follow(self, prefill: float, decode: float, dt_s: float) -> None:
        """``dt_s`` seconds have passed; busy shares are 0 to 1."""
        seen = max(-1.0, min(1.0, prefill - decode))
        self.level += (seen - self.level) * -math.expm1(-dt_s / _FOLLOWS_S)
        if abs(seen - self.level) < _NEAR:
            self.level = seen
