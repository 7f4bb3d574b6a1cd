from __future__ import annotations

import pytest

from pdtest.embedded.store.errors import DoesNotFit, StoreError
from pdtest.embedded.store.objects import StoredObject, Wanted
from pdtest.embedded.store.pool import Pool


class Bench:
    """A pool with one writer, and what it evicted."""

    def __init__(self, capacity: int = 100, *, high: float = 0.8, low: float = 0.5) -> None:
        self.evicted: list[str] = []
        self.pool = Pool(high=high, low=low, evicted=lambda one: self.evicted.append(one.key))
        self.pool.add_segment("memory", capacity)

    def put(self, key: str, size: int, now: float = 0) -> StoredObject:
        found = self.pool.allocate(Wanted(key, size), writer="writer", now=now)
        assert found is not None
        assert self.pool.written(found[0].ticket, 0, 7, writer="writer", now=now) is found[0]
        return found[0]

    def find(self, key: str) -> StoredObject:
        one = self.pool.find(key)
        assert one is not None
        return one

    @property
    def keys(self) -> set[str]:
        return set(self.pool.objects)


def test_up_to_the_high_watermark_nothing_is_evicted() -> None:
    bench = Bench()
    for key in "abcd":
        bench.put(key, 20)
    assert bench.evicted == []
    assert bench.pool.used == 80


def test_beyond_it_the_least_recently_used_go_until_the_low_one_holds() -> None:
    bench = Bench()
    for key in "abcd":
        bench.put(key, 20)
    bench.find("a")
    bench.put("e", 10)
    assert bench.evicted == ["b", "c"]
    assert bench.pool.used == 50


def test_what_is_read_or_leased_is_not_evicted() -> None:
    bench = Bench()
    read, leased = bench.put("read", 20), bench.put("leased", 20)
    bench.pool.pin(read, "reader")
    leased.leased_until = 5
    bench.put("c", 20)
    bench.put("d", 30, now=4)
    assert bench.evicted == ["c"]
    assert bench.pool.used == 70
    bench.pool.unpin(read.ticket, "reader")
    bench.put("e", 20, now=5)
    assert bench.evicted == ["c", "read", "leased"]


def test_what_is_on_its_way_in_is_not_evicted() -> None:
    bench = Bench()
    bench.pool.allocate(Wanted("half", 40, 0, 2), writer="writer", now=0)
    bench.put("whole", 30)
    bench.put("next", 20)
    assert bench.evicted == ["whole"]
    assert bench.keys == {"half", "next"}


def test_what_cannot_fit_evicts_nothing() -> None:
    bench = Bench()
    bench.put("a", 20)
    with pytest.raises(DoesNotFit, match=r"101 bytes do not fit.* 100 at most.*--segment-mib"):
        bench.pool.allocate(Wanted("big", 101), writer="writer", now=0)
    held = bench.put("held", 20)
    bench.pool.pin(held, "reader")
    with pytest.raises(DoesNotFit, match=r"61 bytes do not fit.* 60 at most"):
        bench.pool.allocate(Wanted("big", 61), writer="writer", now=0)
    assert bench.evicted == []
    bench.put("just", 60)
    assert bench.evicted == ["a"]


def test_between_segments_that_are_too_full_the_fragments_are_joined_by_evicting() -> None:
    bench = Bench(high=1.0, low=0.9)
    for key in "abcde":
        bench.put(key, 20)
    for key in "bd":
        bench.pool.remove(bench.find(key))
    assert bench.pool.used == 60
    bench.put("wide", 40)
    assert bench.evicted in (["a"], ["a", "c"])
    assert bench.pool.used <= 100


def test_the_writers_own_segment_comes_first_then_the_emptiest() -> None:
    bench = Bench()
    bench.pool.add_segment("writer", 40)
    bench.pool.add_segment("other", 200)
    assert bench.put("own", 30).extents[0].segment == "writer"
    assert bench.put("elsewhere", 30).extents[0].segment == "other"
    found = bench.pool.allocate(Wanted("not there", 30), writer="writer", now=0, avoid=["other"])
    assert found is not None
    assert found[1].segment == "memory"


def test_a_removed_object_keeps_its_bytes_until_it_was_read() -> None:
    bench = Bench()
    one = bench.put("a", 20)
    bench.pool.pin(one, "reader")
    bench.pool.pin(one, "reader")
    bench.pool.remove(one)
    assert bench.pool.find("a") is None
    assert bench.put("a", 20).extents[0].offset == 20, "a key may come back meanwhile, elsewhere"
    bench.pool.unpin(one.ticket, "reader")
    assert bench.pool.used == 40
    bench.pool.unpin(one.ticket, "reader")
    assert bench.pool.used == 20
    assert bench.pool.unpin(one.ticket, "reader") is None


def test_a_reader_that_is_gone_holds_nothing() -> None:
    bench = Bench()
    one = bench.put("a", 20)
    bench.pool.pin(one, "dead")
    bench.pool.remove(one)
    bench.pool.forget_reader("dead")
    assert bench.pool.used == 0
    assert bench.pool.leaving == []


def test_a_put_that_was_called_off_keeps_its_bytes_until_late_writes_are_shut_out() -> None:
    bench = Bench()
    found = bench.pool.allocate(Wanted("a", 20), writer="writer", now=0)
    assert found is not None
    one, _ = found
    assert bench.pool.call_off(one.ticket) is one
    assert bench.pool.call_off(one.ticket) is None
    assert bench.pool.written(one.ticket, 0, 7, writer="writer", now=0) is None
    assert bench.pool.used == 20
    bench.pool.fenced(one)
    assert bench.pool.used == 0


def test_a_complete_object_cannot_be_called_off() -> None:
    bench = Bench()
    assert bench.pool.call_off(bench.put("a", 20).ticket) is None
    assert bench.find("a").complete


def test_nobody_else_can_finish_a_put() -> None:
    bench = Bench()
    found = bench.pool.allocate(Wanted("a", 20), writer="writer", now=0)
    assert found is not None
    assert bench.pool.written(found[0].ticket, 0, 7, writer="other", now=0) is None
    assert bench.pool.find("a") is None


def test_an_object_in_layers_exists_once_all_are_in() -> None:
    bench = Bench()
    for layer in (2, 0, 1):
        found = bench.pool.allocate(Wanted("a", 10, layer, 3), writer="writer", now=0)
        assert found is not None
        assert bench.pool.find("a") is None
        bench.pool.written(found[0].ticket, layer, layer, writer="writer", now=0)
    assert [layer.checksum for layer in bench.find("a").layers if layer] == [0, 1, 2]
    assert bench.pool.used == 30


def test_a_layer_that_makes_no_sense_is_refused() -> None:
    bench = Bench()
    bench.pool.allocate(Wanted("a", 10, 0, 3), writer="writer", now=0)
    assert bench.pool.allocate(Wanted("a", 10, 0, 3), writer="writer", now=0) is None
    assert bench.pool.allocate(Wanted("a", 10, 1, 3), writer="other", now=0) is None
    with pytest.raises(StoreError, match="layer 3 of 'a'"):
        bench.pool.allocate(Wanted("a", 10, 3, 3), writer="writer", now=0)
    with pytest.raises(StoreError, match="has 3 layers, now it is put with 4"):
        bench.pool.allocate(Wanted("a", 10, 1, 4), writer="writer", now=0)


def test_with_a_segment_go_its_objects_and_only_those() -> None:
    bench = Bench()
    bench.pool.add_segment("lent", 100)
    in_both = [
        bench.pool.allocate(Wanted("both", 10, 0, 2), writer="lent", now=0),
        bench.pool.allocate(Wanted("both", 10, 1, 2), writer="lent", now=0, avoid=["lent"]),
    ]
    bench.pool.allocate(Wanted("lost", 10), writer="lent", now=0)
    bench.pool.allocate(Wanted("kept", 10), writer="x", now=0, avoid=["lent"])
    lost = bench.pool.drop_segment("lent")
    assert {one.key for one in lost} == {"both", "lost"}
    assert bench.keys == {"kept"}
    assert all(found is not None for found in in_both)
    assert bench.pool.used == 20, "its writer may still write the other layer"
    for one in lost:
        bench.pool.fenced(one)
    assert bench.pool.used == 10
    assert bench.pool.drop_segment("lent") == []


def test_puts_without_progress_are_found_by_time_and_by_writer() -> None:
    bench = Bench()
    bench.pool.allocate(Wanted("old", 10, 0, 2), writer="a", now=1)
    bench.pool.allocate(Wanted("new", 10, 0, 2), writer="b", now=3)
    bench.put("done", 10, now=0)
    assert [one.key for one in bench.pool.unfinished(idle_since=2)] == ["old"]
    assert [one.key for one in bench.pool.unfinished(writer="b")] == ["new"]
    bench.pool.allocate(Wanted("old", 10, 1, 2), writer="a", now=3)
    assert bench.pool.unfinished(idle_since=2) == []
