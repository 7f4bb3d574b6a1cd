"""Which way a request takes, given who is there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from pdtest.embedded.proxy.instances import Instance, Pool
from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.path import Path
from pdtest.embedded.proxy.routing.phase import Phase

#: Hybrid instances can do everything, and what they should do can be handed over.
_OTHERWISE: Mapping[Path, Path] = MappingProxyType(
    {Path.HYBRID: Path.PREFILL, Path.PREFILL: Path.HYBRID, Path.DECODE: Path.HYBRID}
)


class Router:
    """A rule, and what is done where nobody is there to follow it."""

    def __init__(self, pool: Pool, phase: Phase) -> None:
        self.phase = phase
        self._pool = pool

    def path(self, request: ClientRequest, without: Collection[Instance] = ()) -> Path:
        """The rule's way, or else another one; the rule's, too, where there is none."""
        wanted = self.phase.path(request)
        if not self.can(wanted, without) and self.can(_OTHERWISE[wanted], without):
            return _OTHERWISE[wanted]
        return wanted

    @property
    def is_ready(self) -> bool:
        """Whether requests can be handed over; where only hybrids are known, whether one can be used."""
        handed_over = any(self._pool.of(side) for side in Path.PREFILL.sides)
        return self.can(Path.PREFILL if handed_over else Path.HYBRID)

    def can(self, path: Path, without: Collection[Instance] = ()) -> bool:
        """Whether there is somebody for it, beside those ``without``."""
        return all(any(one not in without for one in self._pool.usable(side)) for side in path.sides)

    def can_serve(self, request: ClientRequest, without: Collection[Instance]) -> bool:
        """Whether a way is left for ``request``."""
        return self.can(self.path(request, without), without)
