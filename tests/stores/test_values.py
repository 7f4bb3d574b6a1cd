from __future__ import annotations

import pytest

from pdtest.stores.values import Value

VALUE = Value(key="mine", nonce="n1", size=10_000)
OTHER = Value(key="other", nonce="n2", size=10_000)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 10_000])
def test_it_has_its_size_and_is_always_the_same(size: int) -> None:
    value = Value(key="k", nonce="n", size=size)
    assert len(value.content) == size
    assert value.content == Value(key="k", nonce="n", size=size).content
    assert value.flaw(value.content) is None


def test_values_of_one_key_differ() -> None:
    assert VALUE.content != Value(key="mine", nonce="n3", size=10_000).content


@pytest.mark.parametrize(
    ("seen", "flaw"),
    [
        (None, "is absent"),
        (VALUE.content[:-1], "was cut to 9999 of its 10000 bytes"),
        (b"", "was cut to 0 of its 10000 bytes"),
        (
            VALUE.content[:8192] + OTHER.content[8192:],
            (
                "came back with 10000 bytes where 10000 were put, wrong from byte 8193 on:"
                " page 2 of key 'other', nonce n2"
            ),
        ),
        (
            OTHER.content[:5000],
            (
                "came back with 5000 bytes where 10000 were put, wrong from byte 1 on:"
                " page 0 of key 'other', nonce n2"
            ),
        ),
        (
            VALUE.content[:4096] + bytes(5904),
            "came back with 10000 bytes where 10000 were put, wrong from byte 4096 on: zeros",
        ),
        (
            VALUE.content + b"x",
            (
                "came back with 10001 bytes where 10000 were put, wrong from byte 10000 on:"
                " page 2 of key 'mine', nonce n1"
            ),
        ),
        (
            b"?" * 10_000,
            (
                "came back with 10000 bytes where 10000 were put, wrong from byte 0 on:"
                " bytes of no value that pdtest made"
            ),
        ),
    ],
    ids=["absent", "cut", "empty", "mixed", "other's", "zeros", "longer", "alien"],
)
def test_what_is_wrong_is_said(seen: bytes | None, flaw: str) -> None:
    assert VALUE.flaw(seen) == flaw


@pytest.mark.parametrize("count", [1, 2, 7])
def test_layers_are_the_content(count: int) -> None:
    layers = VALUE.layers(count)
    assert len(layers) == count
    assert b"".join(layers) == VALUE.content
