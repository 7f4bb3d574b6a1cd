"""Whatever clients do in whatever order: no bytes are given out twice, and the sums are right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pdtest.embedded.store.errors import DoesNotFit
from pdtest.embedded.store.objects import Extent, StoredObject, Wanted
from pdtest.embedded.store.pool import Pool

_HIGH, _LOW = 0.8, 0.5
_LAYERS = {"a": 1, "b": 1, "c": 1, "d": 2, "e": 3}
keys = st.sampled_from(sorted(_LAYERS))
clients = st.sampled_from(["one", "two"])


@dataclass
class Known:
    """What the model knows of an object, from what the pool answered alone."""

    one: StoredObject
    writer: str
    places: dict[int, Extent] = field(default_factory=dict)
    written: set[int] = field(default_factory=set)
    readers: list[str] = field(default_factory=list)
    leased_until: float = 0
    visible: bool = True
    open: bool = True

    @property
    def complete(self) -> bool:
        return len(self.written) == _LAYERS[self.one.key]

    @property
    def holds_bytes(self) -> bool:
        return self.visible or self.open or bool(self.readers)


class PoolStates(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.known: list[Known] = []
        self.sizes: dict[str, int] = {}
        self.last_evicted = 0
        self.lives: Counter[str] = Counter()
        self.pool = Pool(high=_HIGH, low=_LOW, evicted=self.on_evicted)

    def on_evicted(self, one: StoredObject) -> None:
        known = self.of(one)
        assert known.complete, "evicted on its way in"
        assert not known.readers, "evicted while it is read"
        assert known.leased_until <= self.now, "evicted under a lease"
        known.visible = False
        self.last_evicted = sum(extent.size for extent in known.places.values())

    def of(self, one: StoredObject) -> Known:
        return next(known for known in self.known if known.one is one)

    def named(self, key: str) -> Known | None:
        return next((known for known in self.known if known.visible and known.one.key == key), None)

    @initialize(capacity=st.integers(20, 60))
    def begin(self, capacity: int) -> None:
        self.grow("meta", capacity)

    def alive(self, client: str) -> str:
        """The client's name in this life: a client that comes back has another one, as in the store."""
        return f"{client}-{self.lives[client]}"

    def grow(self, name: str, capacity: int) -> None:
        self.pool.add_segment(name, capacity)
        self.sizes[name] = capacity

    @rule(name=clients, capacity=st.integers(0, 60))
    def a_client_lends_memory(self, name: str, capacity: int) -> None:
        name = self.alive(name)
        if name not in self.sizes:
            self.grow(name, capacity)

    @rule(name=clients)
    def a_client_goes(self, name: str) -> None:
        self.lives[name] += 1
        name = f"{name}-{self.lives[name] - 1}"
        for known in self.known:
            if known.visible and known.writer == name and not known.complete:
                assert self.pool.call_off(known.one.ticket) is known.one
                known.visible = False
            known.readers = [reader for reader in known.readers if reader != name]
        self.pool.forget_reader(name)
        lost = self.pool.drop_segment(name)
        self.sizes.pop(name, None)
        for known in self.known:
            if any(extent.segment == name for extent in known.places.values()):
                assert (known.one in lost) == known.visible
                known.visible = False
                known.places = {at: place for at, place in known.places.items() if place.segment != name}
            else:
                assert known.one not in lost

    @rule(key=keys, layer=st.integers(0, 2), size=st.integers(0, 30), writer=clients)
    def put(self, key: str, layer: int, size: int, writer: str) -> None:
        layer, writer = layer % _LAYERS[key], self.alive(writer)
        before = self.named(key)
        evictable = {
            known.one.ticket
            for known in self.known
            if known.visible and known.complete and not known.readers and known.leased_until <= self.now
        }
        used, self.last_evicted = self.pool.used, 0
        try:
            found = self.pool.allocate(Wanted(key, size, layer, _LAYERS[key]), writer=writer, now=self.now)
        except DoesNotFit:
            assert self.last_evicted == 0, "evicted in vain"
            assert self.pool.used == used
            assert all(self.room(name, evictable) < size for name in self.sizes)
            return
        taken = before is not None and (before.complete or before.writer != writer or layer in before.places)
        assert (found is None) == taken
        if found is None:
            return
        one, extent = found
        if before is None:
            self.known.append(Known(one=one, writer=writer))
        assert extent.size == size
        assert not any(self.overlap(extent, other) for other in self.held_extents()), "handed out twice"
        self.of(one).places[layer] = extent
        if used + size > _HIGH * self.pool.capacity:
            left = {known.one.ticket for known in self.known if known.visible} & evictable
            assert self.pool.used <= _LOW * self.pool.capacity or not left, "stopped above the low watermark"

    @staticmethod
    def overlap(one: Extent, other: Extent) -> bool:
        same = one.segment == other.segment
        return same and one.offset < other.offset + other.size and other.offset < one.offset + one.size

    def held_extents(self) -> list[Extent]:
        return [extent for known in self.known if known.holds_bytes for extent in known.places.values()]

    def room(self, name: str, evictable: set[int]) -> int:
        """The largest gap in a segment beside what may not be evicted, byte by byte."""
        free = [True] * self.sizes[name]
        for known in self.known:
            if known.holds_bytes and known.one.ticket not in evictable:
                for extent in known.places.values():
                    if extent.segment == name:
                        free[extent.offset : extent.offset + extent.size] = [False] * extent.size
        runs = "".join("." if byte else "#" for byte in free).split("#")
        return max(len(run) for run in runs)

    @precondition(lambda self: any(known.open and known.places for known in self.known))
    @rule(data=st.data(), checksum=st.integers(0, 9))
    def bytes_arrive(self, data: st.DataObject, checksum: int) -> None:
        known = data.draw(st.sampled_from([known for known in self.known if known.open and known.places]))
        layer = data.draw(st.sampled_from(sorted(known.places)))
        done = self.pool.written(known.one.ticket, layer, checksum, writer=known.writer, now=self.now)
        assert (done is known.one) == known.visible
        if known.visible:
            known.written.add(layer)
            known.open = not known.complete

    @precondition(lambda self: any(known.open and not known.visible for known in self.known))
    @rule(data=st.data())
    def late_writes_are_shut_out(self, data: st.DataObject) -> None:
        known = data.draw(st.sampled_from([one for one in self.known if one.open and not one.visible]))
        self.pool.fenced(known.one)
        known.open = False

    @rule(key=keys)
    def call_off(self, key: str) -> None:
        known = self.named(key)
        if known is not None:
            assert (self.pool.call_off(known.one.ticket) is known.one) == (not known.complete)
            known.visible = known.complete

    @rule(key=keys, reader=clients, lease=st.sampled_from([0, 5]))
    def get(self, key: str, reader: str, lease: float) -> None:
        one, known, reader = self.pool.find(key), self.named(key), self.alive(reader)
        assert one is (known.one if known is not None and known.complete else None)
        if one is not None and known is not None:
            self.pool.pin(one, reader)
            known.readers.append(reader)
            one.leased_until = known.leased_until = self.now + lease

    @precondition(lambda self: any(known.readers for known in self.known))
    @rule(data=st.data())
    def have_read(self, data: st.DataObject) -> None:
        known = data.draw(st.sampled_from([known for known in self.known if known.readers]))
        reader = data.draw(st.sampled_from(known.readers))
        assert self.pool.unpin(known.one.ticket, reader) is known.one
        known.readers.remove(reader)

    @rule(key=keys)
    def remove(self, key: str) -> None:
        known = self.named(key)
        if known is not None and known.complete:
            self.pool.remove(known.one)
            known.visible = False

    @rule(seconds=st.integers(1, 6))
    def time_goes_by(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def the_sums_are_right(self) -> None:
        assert self.pool.capacity == sum(self.sizes.values())
        assert self.pool.used == sum(extent.size for extent in self.held_extents())
        assert set(self.pool.objects) == {known.one.key for known in self.known if known.visible}

    def teardown(self) -> None:
        for known in self.known:
            for reader in known.readers:
                self.pool.unpin(known.one.ticket, reader)
            if known.visible and known.complete:
                self.pool.remove(known.one)
            elif known.open:
                self.pool.call_off(known.one.ticket)
                self.pool.fenced(known.one)
        assert self.pool.used == 0
        assert self.pool.leaving == []


TestPoolStates = PoolStates.TestCase
TestPoolStates.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
