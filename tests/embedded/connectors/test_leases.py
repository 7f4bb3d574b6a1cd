from __future__ import annotations

import asyncio

import pytest

from pdtest.embedded.connectors.leases import Leases

from .fakes import settled


class Book:
    """Leases, and what they said."""

    def __init__(self, *, duration_s: float = 60.0, extension_s: float = 60.0, ranks: int = 1) -> None:
        self.released: list[str] = []
        self.expired: list[str] = []
        self.leases = Leases(
            duration_s=duration_s,
            extension_s=extension_s,
            ranks=ranks,
            release=self.released.append,
            expired=self.expired.append,
        )


async def test_a_lease_ends_by_itself() -> None:
    book = Book(duration_s=0.05)
    book.leases.hold("a")
    assert "a" in book.leases
    await settled(lambda: book.expired == ["a"])
    assert book.released == ["a"]
    assert "a" not in book.leases


async def test_a_sign_of_life_prolongs_it() -> None:
    book = Book(duration_s=0.1, extension_s=60)
    book.leases.hold("a")
    book.leases.renew(["a", "unknown"])
    await asyncio.sleep(0.3)
    assert book.released == []
    book.leases.close()


async def test_a_sign_of_life_never_shortens_it() -> None:
    book = Book(duration_s=60, extension_s=0.01)
    book.leases.hold("a")
    book.leases.renew(["a"])
    with book.leases.reading("a"):
        pass
    await asyncio.sleep(0.1)
    assert book.released == []
    book.leases.close()


async def test_the_end_of_a_transfer_is_a_sign_of_life() -> None:
    """Who has just read will say so; until then the blocks stay."""
    book = Book(duration_s=0.2, extension_s=60)
    book.leases.hold("a")
    with book.leases.reading("a"):
        pass
    await asyncio.sleep(0.5)
    assert book.released == []
    book.leases.close()


async def test_nothing_goes_while_it_is_read() -> None:
    book = Book(duration_s=0.05, extension_s=0.05)
    book.leases.hold("a")
    with book.leases.reading("a"), book.leases.reading("a"):
        await asyncio.sleep(0.3)
        assert book.released == []
    await settled(lambda: book.expired == ["a"])


async def test_what_is_consumed_goes_with_its_last_reader() -> None:
    book = Book()
    book.leases.hold("a")
    with book.leases.reading("a"):
        with book.leases.reading("a"):
            book.leases.consume("a")
        assert book.released == []
    assert book.released == ["a"]
    assert book.expired == []


async def test_what_nobody_holds_can_be_read_and_consumed() -> None:
    book = Book()
    with book.leases.reading("a"):
        book.leases.consume("a")
    assert not book.leases.notify("a", rank=0, consumers=1)
    assert book.released == []


@pytest.mark.parametrize(("ranks", "consumers"), [(1, 1), (1, 2), (2, 1), (2, 2)])
async def test_all_ranks_must_hear_of_all_consumers(ranks: int, consumers: int) -> None:
    book = Book(ranks=ranks)
    book.leases.hold("a")
    for rank in range(ranks):
        for _ in range(consumers):
            assert book.released == []
            assert book.leases.notify("a", rank=rank, consumers=consumers)
    assert book.released == ["a"]
    assert not book.leases.notify("a", rank=0, consumers=consumers)


async def test_when_the_engine_ends_nothing_is_released() -> None:
    book = Book(duration_s=0.05)
    book.leases.hold("a")
    book.leases.close()
    await asyncio.sleep(0.15)
    assert book.released == []
