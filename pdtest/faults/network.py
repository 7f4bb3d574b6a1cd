"""Links that are slow, cut, half-open, or reset."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Outcome
from pdtest.faults.fault import Aftermath, Unverified
from pdtest.faults.probe import Measured, measure
from pdtest.links import HEALTHY, Condition, Line, Link, Manner

#: A healthy link on this machine takes a millisecond for a round trip; this long means that nothing comes.
_PATIENCE_S = 0.25
#: Clocks and timers: of what was asked for, so much must be seen.
_SHARE = 0.9


@dataclass
class LinkFault:
    """A link is in another condition while the fault lasts.

    Verified by a probe through each of its relays. ``name`` says what is wrong with it.
    """

    cluster: Cluster
    link: Link
    condition: Condition
    name: str = "link"
    aftermath: Aftermath = field(default_factory=Aftermath)

    @property
    def target(self) -> str:
        """As ``decode -> prefill:side_channel``."""
        return self.link.name

    @property
    def members(self) -> frozenset[str]:
        """Who is reached by it."""
        return frozenset({self.link.target})

    async def arm(self) -> None:
        """Change the link."""
        await self._become(self.condition)

    async def verify(self) -> str:
        """A probe sees what was asked for, and somebody uses the link. Raises Unverified."""
        seen = [await self._looked_at(number) for number in range(len(self.link.relays))]
        if not any(relay.traffic.connections for relay in self.link.relays):
            raise Unverified(
                f"{self.name} of {self.target}: nobody has ever connected through this link",
                expected="members that were told the relay's port",
                next_step="see in members/*/command.sh who was told that port; some announce their own",
            )
        return "; ".join(dict.fromkeys(seen))

    async def lift(self) -> None:
        """The link is as it was. Connections that have lost bytes end with a RST."""
        await self._become(HEALTHY)

    async def _become(self, condition: Condition) -> None:
        await asyncio.to_thread(self.cluster.condition, self.link, condition)

    async def _looked_at(self, number: int) -> str:
        relay = self.link.relays[number]
        slowest = sum(line.latency_s + line.jitter_s for line in (self.condition.up, self.condition.down))
        seen = await measure(
            self.cluster, relay, patience_s=_PATIENCE_S + 2 * slowest, bulk=_is_about_bulk(self.condition)
        )
        wanted = missing(self.condition, seen)
        if wanted is not None:
            raise Unverified(
                f"{self.name} of {self.target} took no effect",
                expected=wanted,
                seen=str(seen),
                where=f"{relay.address}:{relay.port}",
            )
        return str(seen)


def missing(condition: Condition, seen: Measured) -> str | None:
    """What a probe should have seen and has not; None when all is as asked for."""
    match condition.manner:
        case Manner.REFUSES:
            return None if seen.refused else "connection refused"
        case Manner.RESETS:
            return None if seen.reset else "connection reset"
        case Manner.HALF_OPEN:
            return None if seen.is_silent else "a connection on which nothing comes back"
    if condition.up.is_cut or condition.down.is_cut:
        return None if seen.is_silent else "nothing that comes back"
    return _too_fast((condition.up, condition.down), seen)


def _too_fast(lines: tuple[Line, Line], seen: Measured) -> str | None:
    if not seen.round_trip_s:
        return "bytes that come back"
    latency = sum(line.latency_s for line in lines)
    if min(seen.round_trip_s) < latency * _SHARE:
        return f"round trips of at least {latency * 1e3:g} ms"
    if any(line.jitter_s for line in lines) and len(set(seen.round_trip_s)) == 1:
        return "round trips that differ"
    slowest = max((1 / line.bytes_per_s for line in lines if line.bytes_per_s), default=0.0)
    if slowest and (seen.bulk_s is None or seen.bulk_s < (1 << 16) * slowest * _SHARE / 2):
        return f"64 KiB at {1 / slowest:g} bytes/s"
    piece = lines[1].slice_bytes
    if piece and lines[1].pause_s and seen.largest > 2 * piece:
        return f"pieces of {piece} bytes"
    return None


def _is_about_bulk(condition: Condition) -> bool:
    return any(line.bytes_per_s or line.slice_bytes for line in (condition.up, condition.down))


def slow(cluster: Cluster, link: Link, *, latency_s: float = 0.02, jitter_s: float = 0.02) -> LinkFault:
    """Late and at odd times, in small pieces. Nothing may come of it but time."""
    line = Line(latency_s=latency_s, jitter_s=jitter_s, slice_bytes=8192)
    condition = Condition(up=line, down=line)
    aftermath = Aftermath(meanwhile=frozenset({Outcome.RIGHT}), holds=False)
    return LinkFault(cluster, link, condition, name="slow", aftermath=aftermath)


def cut(cluster: Cluster, link: Link) -> LinkFault:
    """Nothing is carried in either direction; connections stay open, and go on when it is mended."""
    line = Line(is_cut=True)
    return LinkFault(cluster, link, Condition(up=line, down=line), name="cut")


def deaf(cluster: Cluster, link: Link) -> LinkFault:
    """Only what comes back is cut: the target hears everything and is not heard."""
    return LinkFault(cluster, link, Condition(down=Line(is_cut=True)), name="one direction cut")


def half_open(cluster: Cluster, link: Link) -> LinkFault:
    """Connections are accepted, and nobody is there."""
    return LinkFault(cluster, link, Condition(manner=Manner.HALF_OPEN), name="half-open")


def reset(cluster: Cluster, link: Link) -> LinkFault:
    """Connections are ended with a RST, new ones at once."""
    return LinkFault(cluster, link, Condition(manner=Manner.RESETS), name="reset")


def refused(cluster: Cluster, link: Link) -> LinkFault:
    """Nobody listens; existing connections go on."""
    return LinkFault(cluster, link, Condition(manner=Manner.REFUSES), name="refused")
