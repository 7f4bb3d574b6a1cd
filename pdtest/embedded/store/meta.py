"""The meta process's part of the protocol: what clients ask on its channel.

A put is `allocate` (places), the client's writes to the segments' owners, `complete`; a get is `locate`
(places, pinned), reads, `release`. All of them take lists. Nothing is awaited between looking at the pool and
changing it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from pdtest.embedded.channel import ChannelServer, RemoteError
from pdtest.embedded.store.errors import DoesNotFit
from pdtest.embedded.store.members import Member, Members
from pdtest.embedded.store.metrics import StoreMetrics
from pdtest.embedded.store.objects import Layer, StoredObject, Wanted
from pdtest.embedded.store.pool import Pool
from pdtest.embedded.store.segment import Segment
from pdtest.embedded.store.settings import StoreSettings

_log = logging.getLogger(__name__)


class MetaService:
    """Answers clients, and gives up on those that are gone."""

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self.pool = Pool(
            high=settings.high_watermark, low=settings.low_watermark, evicted=self._count_eviction
        )
        self.members = Members(gone=self._lost, timeout_s=settings.client_timeout)
        self.metrics = StoreMetrics(self.pool, clients=self.members.__len__)
        self._own = Segment(settings.segment_bytes, name=f"{self.members.life}-meta")
        self.pool.add_segment(self._own.name, self._own.capacity)
        self._server = ChannelServer(
            {
                "register": self._register,
                "unregister": self._unregister,
                "heartbeat": self._heartbeat,
                "allocate": self._allocate,
                "complete": self._complete,
                "cancel": self._cancel,
                "locate": self._locate,
                "release": self._release,
                "exists": self._exists,
                "remove": self._remove,
                **self._own.handlers(),
            }
        )
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The channel's."""
        return self._server.port

    async def start(self) -> None:
        """Listen. Raises OSError."""
        await self._server.start(self.settings.host, self.settings.port)
        self._spawn(self._sweep())

    async def close(self) -> None:
        """Hang up on everybody."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.close()
        await self.members.close()

    def snapshot(self) -> dict[str, Any]:
        """The state as JSON."""
        complete = sum(one.complete for one in self.pool.objects.values())
        return {
            "capacity_bytes": self.pool.capacity,
            "used_bytes": self.pool.used,
            "objects": complete,
            "puts_under_way": len(self.pool.objects) - complete,
            "leaving": len(self.pool.leaving),
            "watermarks": {"high": self.settings.high_watermark, "low": self.settings.low_watermark},
            "clients": len(self.members),
            "segments": [
                {
                    "name": name,
                    "address": self._address(name),
                    "capacity_bytes": space.capacity,
                    "used_bytes": space.used,
                }
                for name, space in self.pool.segments.items()
            ],
            "counters": {name: self.metrics.counts[name] for name in sorted(self.metrics.counts)},
        }

    async def _register(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.metrics.count("mount_requests")
        try:
            member = await self.members.enrol(asked["host"], asked["port"])
        except Exception:
            self.metrics.count("mount_failures")
            raise
        self.metrics.count("mount_successes")
        self.pool.add_segment(member.name, asked["capacity"])
        _log.info("client %s at %s:%s brings %s bytes", member.name, *_where(member), asked["capacity"])
        return {"client": member.name, "heartbeat_s": self.settings.client_timeout / 4}

    async def _unregister(self, asked: Mapping[str, Any]) -> None:
        member = self._speaker(asked)
        self.metrics.count("unmount_requests")
        self.members.strike(member)
        self._forget(member)

    async def _heartbeat(self, asked: Mapping[str, Any]) -> None:
        self._speaker(asked)

    async def _allocate(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Per item: [ticket, segment, offset], nil when there is nothing to put, or why it does not fit."""
        member, avoid = self._speaker(asked), asked["avoid"]
        places = [self._place(Wanted(*item), member, avoid) for item in asked["items"]]
        return self._with_addresses(places, (place[1] for place in places if isinstance(place, list)))

    def _place(self, wanted: Wanted, member: Member, avoid: list[str]) -> list[Any] | str | None:
        self.metrics.count("alloc_requests")
        try:
            found = self.pool.allocate(wanted, writer=member.name, now=self._now(), avoid=avoid)
        except DoesNotFit as error:
            self.metrics.count("alloc_failures")
            half = self.pool.objects.get(wanted.key)
            if half is not None:
                self._call_off(half)
            return str(error)
        self.metrics.count("alloc_successes" if found else "alloc_failures")
        return [found[0].ticket, found[1].segment, found[1].offset] if found else None

    async def _complete(self, asked: Mapping[str, Any]) -> list[bool]:
        """Per [ticket, layer, checksum]: whether the put still stands."""
        member = self._speaker(asked)
        found = [self.pool.written(*item, writer=member.name, now=self._now()) for item in asked["items"]]
        self.metrics.count("puts", sum(one is not None and one.complete for one in found))
        return [one is not None for one in found]

    async def _cancel(self, asked: Mapping[str, Any]) -> None:
        member = self._speaker(asked)
        for one in self.pool.unfinished(writer=member.name):
            if one.ticket in asked["tickets"]:
                self._call_off(one)

    async def _locate(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Per key nil, or [ticket, [[segment, offset, size, checksum] per layer]], pinned until `release`."""
        member = self._speaker(asked)
        places = [self._find(key, asked["layer"], member) for key in asked["keys"]]
        return self._with_addresses(places, (place[0] for one in places if one for place in one[1]))

    def _find(self, key: str, layer: int | None, member: Member) -> list[Any] | None:
        self.metrics.count("get_requests")
        one = self.pool.find(key)
        layers = [] if one is None else one.layers if layer is None else one.layers[layer : layer + 1]
        if one is None or not layers:
            self.metrics.count("get_not_found")
            self.metrics.count("misses")
            return None
        self.pool.pin(one, member.name)
        return [one.ticket, [_place_of(place) for place in layers if place is not None]]

    async def _release(self, asked: Mapping[str, Any]) -> None:
        """Per [ticket, outcome]: "ok", "damaged" (wrong checksum) or "lost" (not delivered)."""
        member = self._speaker(asked)
        for ticket, outcome in asked["items"]:
            one = self.pool.unpin(ticket, member.name)
            self.metrics.count("get_successes" if outcome == "ok" else "get_failures")
            self.metrics.count("hits" if outcome == "ok" else "misses")
            if outcome == "damaged" and one is not None:
                _log.error("object %s: the bytes read are not those put; dropped", one.key)
                self.metrics.count("checksum_failures")
                self.pool.remove(one)

    async def _exists(self, asked: Mapping[str, Any]) -> list[bool]:
        self._speaker(asked)
        found = [self.pool.find(key) for key in asked["keys"]]
        for one in found:
            self.metrics.count("exist_key_requests")
            self.metrics.count("exist_key_successes" if one else "exist_key_not_found")
            if one is not None:
                one.leased_until = self._now() + self.settings.lease
        return [one is not None for one in found]

    async def _remove(self, asked: Mapping[str, Any]) -> list[bool]:
        self._speaker(asked)
        return [self._remove_one(key) for key in asked["keys"]]

    def _remove_one(self, key: str) -> bool:
        self.metrics.count("remove_requests")
        one = self.pool.find(key)
        self.metrics.count("remove_successes" if one else "remove_not_found")
        if one is not None:
            self.pool.remove(one)
        return one is not None

    def _speaker(self, asked: Mapping[str, Any]) -> Member:
        return self.members.speaking(asked["client"], self._now())

    def _with_addresses(self, places: list[Any], segments: Iterable[str]) -> dict[str, Any]:
        return {"places": places, "at": {name: self._address(name) for name in set(segments)}}

    def _address(self, segment: str) -> list[Any]:
        """Host and port; the host is empty for this process: the client knows how it reaches it."""
        member = self.members.get(segment)
        return ["", self.port] if member is None else [member.host, member.port]

    def _lost(self, member: Member, reason: str) -> None:
        self.metrics.count("clients_lost")
        _log.warning("client %s at %s:%s is gone: %s", member.name, *_where(member), reason)
        self._forget(member)

    def _forget(self, member: Member) -> None:
        for one in self.pool.unfinished(writer=member.name):
            self._call_off(one)
        self.pool.forget_reader(member.name)
        for one in self.pool.drop_segment(member.name):
            self.metrics.count("objects_lost" if one.complete else "puts_called_off")
            if one.writable:
                self._spawn(self._fence(one))

    def _call_off(self, one: StoredObject) -> None:
        if self.pool.call_off(one.ticket) is not None:
            self.metrics.count("puts_called_off")
            self._spawn(self._fence(one))

    async def _fence(self, one: StoredObject) -> None:
        """Late writes of a put that was called off must not hit what is put in its place."""
        segments = {extent.segment for extent in one.extents}
        await asyncio.gather(*(self._shut_out(one.ticket, segment) for segment in segments))
        self.pool.fenced(one)

    async def _shut_out(self, ticket: int, segment: str) -> None:
        if segment == self._own.name:
            self._own.fence(segment, [ticket])
            return
        member = self.members.get(segment)
        if member is None:
            return  # gone, with the bytes
        try:
            await member.channel.call("fence", segment=segment, tickets=[ticket])
        except (ConnectionError, RemoteError) as error:
            self.members.strike(member, f"it cannot fence: {error}")

    async def _sweep(self) -> None:
        interval = min(self.settings.client_timeout, self.settings.put_timeout) / 8
        while True:
            now = self._now()
            self.members.strike_silent(now)
            for one in self.pool.unfinished(idle_since=now - self.settings.put_timeout):
                _log.warning("put of %s made no progress; called off", one.key)
                self._call_off(one)
            await asyncio.sleep(interval)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _count_eviction(self, _: StoredObject) -> None:
        self.metrics.count("evict_operations")

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _where(member: Member) -> tuple[str, int]:
    return member.host, member.port


def _place_of(layer: Layer) -> list[Any]:
    extent = layer.extent
    return [extent.segment, extent.offset, extent.size, layer.checksum]
