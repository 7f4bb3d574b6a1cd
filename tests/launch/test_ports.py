from __future__ import annotations

import pytest

from pdtest.launch.lease import NoPortsLeft
from pdtest.launch.ports import CountedPorts


def test_ports_are_counted_up_around_those_that_are_claimed() -> None:
    ports = CountedPorts(20_000)
    ports.claim(20_001, "127.0.0.1")
    assert [ports.take(1, "127.0.0.1"), ports.take(2, "127.0.0.1"), ports.take(1, "10.0.0.2")] == [
        20_000,
        20_002,
        20_004,
    ]


def test_the_same_each_time() -> None:
    first, second = CountedPorts(), CountedPorts()
    assert [first.take(3, "x") for _ in range(4)] == [second.take(3, "y") for _ in range(4)]


def test_ports_come_to_an_end() -> None:
    ports = CountedPorts(65_534)
    assert ports.take(2, "127.0.0.1") == 65_534
    with pytest.raises(NoPortsLeft, match="no 1 ports in a row"):
        ports.take(1, "127.0.0.1")
