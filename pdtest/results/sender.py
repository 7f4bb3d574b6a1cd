"""A process of a load's client that was on another host."""

from __future__ import annotations

from pdtest.results.frozen import Frozen


class Sender(Frozen):
    """``worker``: as exchanges call it. ``host``: where it was.

    Its CLOCK_MONOTONIC is that of the machine of the result plus ``clock_offset_s``, to within
    ``clock_error_s``: by so much its exchanges may be early or late beside those of others. Times of one
    exchange among themselves are exact.
    """

    worker: int
    host: str
    clock_offset_s: float
    clock_error_s: float
