"""The parts of a router with a switch for planted bugs. Without a bug each does what its base does."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pdtest.embedded.proxy.dispatch import Dispatcher
from pdtest.embedded.proxy.instances import Instance, Pool, Side
from pdtest.embedded.proxy.policies.kv_length import KVLength
from pdtest.embedded.proxy.policies.least_loaded import LeastLoaded
from pdtest.embedded.proxy.policies.policy import Policy
from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.path import Path
from pdtest.embedded.proxy.routing.phase import ByLengths
from pdtest.embedded.proxy.routing.sessions import Sessions
from pdtest.embedded.switch import Switch

_SWAPPED = {Path.PREFILL: Path.DECODE, Path.DECODE: Path.PREFILL, Path.HYBRID: Path.HYBRID}


class FaultyPhase(ByLengths):
    """A rule that may misread lengths."""

    def __init__(self, inner: ByLengths, fault: Switch) -> None:
        self._inner = inner
        self._fault = fault

    @property
    def threshold(self) -> int | None:
        """What it is said to be."""
        return self._inner.threshold

    def path(self, request: ClientRequest) -> Path:
        """May be the opposite."""
        path = super().path(request)
        return _SWAPPED[path] if self._fault.read() == "swap-sides" else path

    def is_long(self, prompt_tokens: int) -> bool:
        """May be off by one, or always so."""
        match self._fault.read():
            case "ignore-threshold":
                return True
            case "off-by-one":
                return self._inner.is_long(prompt_tokens - 1)
        return self._inner.is_long(prompt_tokens)

    def is_one_sided(self, request: ClientRequest) -> bool:
        """As it should be."""
        return self._inner.is_one_sided(request)


class FaultyDispatcher(Dispatcher):
    """It may look at the wrong instances, or at none."""

    def __init__(
        self, pool: Pool, policies: Mapping[Side, Policy], sessions: Sessions, fault: Switch
    ) -> None:
        super().__init__(pool, policies, sessions)
        self._fault = fault
        self._counting = LeastLoaded()
        self._removed: list[Instance] = []

    def candidates(self, side: Side, without: Collection[Instance] = ()) -> list[Instance]:
        """May have those that were removed."""
        candidates = super().candidates(side, without)
        if self._fault.read() != "forget-removed":
            return candidates
        return candidates + [
            one for one in self._removed if one.side is side and one.out is None and one not in without
        ]

    def policy(self, side: Side) -> Policy:
        """May be one that counts."""
        policy = super().policy(side)
        counts = self._fault.read() == "count-requests" and isinstance(policy, KVLength)
        return self._counting if counts else policy

    def pick(self, side: Side, candidates: list[Instance], request: ClientRequest) -> Instance:
        """May be the first of all."""
        if self._fault.read() == "always-first":
            return candidates[0]
        return super().pick(side, candidates, request)

    def gone(self, instance: Instance) -> None:
        """Remembers it."""
        super().gone(instance)
        if instance not in self.pool:
            self._removed.append(instance)


class FaultySessions(Sessions):
    """They may never end."""

    def __init__(self, idle_s: float | None, fault: Switch) -> None:
        super().__init__(idle_s)
        self._fault = fault

    def find(self, side: Side, session: str | None, candidates: Collection[Instance]) -> Instance | None:
        """May be one that was removed."""
        if self._fault.read() != "sticks-too-long":
            return super().find(side, session, candidates)
        kept = self._kept.get((side, session)) if session is not None else None
        return None if kept is None or kept[0].out is not None else kept[0]

    def forget(self, instance: Instance) -> None:
        """May not."""
        if self._fault.read() != "sticks-too-long":
            super().forget(instance)
