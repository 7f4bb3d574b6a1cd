"""Requests that belong together go to the same instances."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection

from pdtest.embedded.proxy.instances import Instance, Side

#: Sessions that are remembered; beyond that the one that was silent for longest is forgotten.
_MOST = 1 << 16


class Sessions:
    """Who serves which session, until it is silent for ``idle_s`` seconds or its instance is gone.

    None as ``idle_s``: there are no sessions.
    """

    def __init__(self, idle_s: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle_s = idle_s
        self._clock = clock
        #: The one that was silent for longest is first.
        self._kept: OrderedDict[tuple[Side, str], tuple[Instance, float]] = OrderedDict()

    def find(self, side: Side, session: str | None, candidates: Collection[Instance]) -> Instance | None:
        """Who of the ``candidates`` serves the session; None: nobody yet, or not any more."""
        kept = self._kept.get((side, session)) if session is not None else None
        if kept is None:
            return None
        instance, heard_at = kept
        return instance if self._lasts(heard_at) and instance in candidates else None

    def keep(self, side: Side, session: str | None, instance: Instance) -> None:
        """The session was heard of, and ``instance`` serves it."""
        if self._idle_s is None or session is None:
            return
        self._kept[side, session] = instance, self._clock()
        self._kept.move_to_end((side, session))
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)

    def forget(self, instance: Instance) -> None:
        """It is gone: whom it served begin anew."""
        for key in [key for key, (kept, _) in self._kept.items() if kept is instance]:
            del self._kept[key]

    def _lasts(self, heard_at: float) -> bool:
        return self._idle_s is not None and self._clock() - heard_at <= self._idle_s
