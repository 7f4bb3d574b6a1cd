"""The metadata of the pool: which segments there are, which objects, and where their bytes lie.

Pure bookkeeping, no memory and no sockets. An object's space is returned in one place (`_settle`), and only
when nobody reads or writes it any more; until then an object that was removed waits among the leaving.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

from pdtest.embedded.store.errors import DoesNotFit, StoreError
from pdtest.embedded.store.objects import Extent, Layer, StoredObject, Wanted
from pdtest.embedded.store.space import Space


class Pool:
    """Objects in segments, the least recently used ones evicted between two watermarks.

    Args:
        high: an allocation that would take more than this share of the capacity evicts,
        low: until with it no more than this share is taken.
        evicted: called with each object that was evicted.
    """

    def __init__(
        self, *, high: float, low: float, evicted: Callable[[StoredObject], None] = lambda _: None
    ) -> None:
        self.segments: dict[str, Space] = {}
        #: By key, the least recently used first.
        self.objects: dict[str, StoredObject] = {}
        self._high = high
        self._low = low
        self._evicted = evicted
        self._tickets = itertools.count(1)
        self._by_ticket: dict[int, StoredObject] = {}

    @property
    def capacity(self) -> int:
        """Bytes of all segments."""
        return sum(space.capacity for space in self.segments.values())

    @property
    def used(self) -> int:
        """Bytes that are taken, also by objects on their way in or out."""
        return sum(space.used for space in self.segments.values())

    @property
    def leaving(self) -> list[StoredObject]:
        """Objects that are gone for everybody who asks, but whose bytes are still held."""
        return [one for one in self._by_ticket.values() if self.objects.get(one.key) is not one]

    def add_segment(self, name: str, capacity: int) -> None:
        """Grow."""
        self.segments[name] = Space(capacity)

    def drop_segment(self, name: str) -> list[StoredObject]:
        """Forget a segment and the objects that have bytes there; of those the writable are to be fenced."""
        self.segments.pop(name, None)
        lost = [one for one in self.objects.values() if any(extent.segment == name for extent in one.extents)]
        for one in lost:
            self.remove(one)
        return lost

    def allocate(
        self, wanted: Wanted, *, writer: str, now: float, avoid: Collection[str] = ()
    ) -> tuple[StoredObject, Extent] | None:
        """A place for a layer of an object that ``writer`` puts; None when there is nothing to put.

        Not in the segments ``avoid``. Raises DoesNotFit, StoreError.
        """
        if not 0 <= wanted.layer < wanted.layers:
            raise StoreError(f"layer {wanted.layer} of {wanted.key!r}: it has {wanted.layers}, from 0")
        one = self.objects.get(wanted.key)
        if one is not None:
            if one.writer != writer or one.complete:
                return None
            if len(one.layers) != wanted.layers:
                raise StoreError(
                    f"{one.key!r} has {len(one.layers)} layers, now it is put with {wanted.layers}"
                )
            if one.layers[wanted.layer] is not None:
                return None
        extent = self._place(wanted.size, prefer=writer, now=now, avoid=avoid)
        if one is None:
            one = self._begin(wanted, writer, now)
        one.layers[wanted.layer] = Layer(extent)
        one.active_at = now
        return one, extent

    def _begin(self, wanted: Wanted, writer: str, now: float) -> StoredObject:
        layers: list[Layer | None] = [None] * wanted.layers
        number = next(self._tickets)
        one = StoredObject(key=wanted.key, ticket=number, writer=writer, layers=layers, active_at=now)
        self.objects[one.key] = self._by_ticket[number] = one
        return one

    def written(
        self, ticket: int, layer: int, checksum: int, *, writer: str, now: float
    ) -> StoredObject | None:
        """A layer's bytes are in. None when there is no such put of ``writer``'s (any more)."""
        one = self._by_ticket.get(ticket)
        if one is None or one.writer != writer or self.objects.get(one.key) is not one:
            return None
        place = one.layers[layer]
        if place is None:
            return None
        place.checksum = checksum
        one.active_at = now
        one.writable = not one.complete
        self._touch(one)
        return one

    def call_off(self, ticket: int) -> StoredObject | None:
        """End a put that will not complete; None when it is none. Its space is held until `fenced`."""
        one = self._by_ticket.get(ticket)
        if one is None or self.objects.get(one.key) is not one or one.complete:
            return None
        self.remove(one)
        return one

    def fenced(self, one: StoredObject) -> None:
        """No late write can reach the bytes of a put that was called off."""
        one.writable = False
        self._settle(one)

    def unfinished(self, *, writer: str | None = None, idle_since: float | None = None) -> list[StoredObject]:
        """Puts under way: of one writer, or without any progress since a time."""
        return [
            one
            for one in self.objects.values()
            if one.writable
            and (writer is None or one.writer == writer)
            and (idle_since is None or one.active_at < idle_since)
        ]

    def find(self, key: str) -> StoredObject | None:
        """The complete object, which now counts as used; None for a miss."""
        one = self.objects.get(key)
        if one is None or not one.complete:
            return None
        self._touch(one)
        return one

    def pin(self, one: StoredObject, reader: str) -> None:
        """``reader`` is about to read the bytes."""
        one.readers[reader] += 1

    def unpin(self, ticket: int, reader: str) -> StoredObject | None:
        """``reader`` has read; None when nothing was known of that."""
        one = self._by_ticket.get(ticket)
        if one is None or reader not in one.readers:
            return None
        one.readers[reader] -= 1
        if not one.readers[reader]:
            del one.readers[reader]
        self._settle(one)
        return one

    def forget_reader(self, reader: str) -> None:
        """A client is gone with all its reads."""
        for one in list(self._by_ticket.values()):
            if one.readers.pop(reader, 0):
                self._settle(one)

    def remove(self, one: StoredObject) -> None:
        """Nobody finds it any more. Who reads it may finish; its space is returned then."""
        if self.objects.get(one.key) is one:
            del self.objects[one.key]
        self._settle(one)

    def _touch(self, one: StoredObject) -> None:
        self.objects[one.key] = self.objects.pop(one.key)

    def _settle(self, one: StoredObject) -> None:
        if one.held or self.objects.get(one.key) is one or self._by_ticket.pop(one.ticket, None) is None:
            return
        for extent in one.extents:
            if (space := self.segments.get(extent.segment)) is not None:
                space.free(extent.offset, extent.size)

    def _place(self, size: int, *, prefer: str, now: float, avoid: Collection[str]) -> Extent:
        names = [name for name in self._by_preference(prefer) if name not in avoid]
        over = self.used + size > self._high * self.capacity
        if not over and (extent := self._first_fit(names, size)):
            return extent
        home = self._home(names, size, now)
        victims = deque(one for one in self.objects.values() if one.evictable(now))
        while over and victims and self.used + size > self._low * self.capacity:
            self._evict(victims.popleft())
        while not (extent := self._first_fit(names, size)):
            one = victims.popleft()
            if any(extent.segment == home for extent in one.extents):
                self._evict(one)
        return extent

    def _by_preference(self, first: str) -> list[str]:
        """The writer's own segment, then those with most room."""
        free = {name: space.capacity - space.used for name, space in self.segments.items()}
        return sorted(free, key=lambda name: (name != first, -free[name]))

    def _first_fit(self, names: Iterable[str], size: int) -> Extent | None:
        for name in names:
            if (offset := self.segments[name].allocate(size)) is not None:
                return Extent(name, offset, size)
        return None

    def _home(self, names: Sequence[str], size: int, now: float) -> str:
        """A segment that can take ``size`` bytes after evicting; asked before anything is evicted in vain."""
        fixed: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
        for one in self._by_ticket.values():
            if self.objects.get(one.key) is one and one.evictable(now):
                continue
            for extent in one.extents:
                if extent.segment in fixed:
                    fixed[extent.segment].append((extent.offset, extent.size))
        gaps = {name: self.segments[name].largest_gap_without(fixed[name]) for name in names}
        for name, gap in gaps.items():
            if gap >= size:
                return name
        asked = [space for name, space in self.segments.items() if name in gaps and space.capacity]
        raise DoesNotFit(
            f"{size} bytes do not fit: evicting can make room for {max(gaps.values(), default=0)} at most;"
            f" segments asked: {len(asked)} with {sum(one.capacity for one in asked)} bytes,"
            f" {sum(one.used for one in asked)} in use; give the pool more memory (--segment-mib here,"
            " or a larger segment of a client)"
        )

    def _evict(self, one: StoredObject) -> None:
        self.remove(one)
        self._evicted(one)
