from __future__ import annotations

from pdtest.launch.clock import compare


class Hosts:
    """Two clocks, and a way between them whose two directions take their time."""

    def __init__(self, offset_s: float, trips: list[tuple[float, float]]) -> None:
        self._true = 1000.0
        self._offset_s = offset_s
        self._trips = trips

    def now(self) -> float:
        return self._true

    async def tell(self) -> float:
        there, back = self._trips.pop(0)
        self._true += there
        told = self._true + self._offset_s
        self._true += back
        return told


async def test_the_quickest_answer_counts() -> None:
    slow = [(0.5, 0.0)] * 4
    hosts = Hosts(-7.25, [*slow, (0.001, 0.002), *slow])
    skew = await compare(hosts.tell, hosts.now)
    assert abs(skew.offset_s + 7.25) <= skew.error_s
    assert abs(skew.error_s - 0.0015) < 1e-9


async def test_the_error_covers_a_way_that_is_slow_in_one_direction_only() -> None:
    hosts = Hosts(3.0, [(0.8, 0.0)] * 8)
    skew = await compare(hosts.tell, hosts.now)
    assert abs(skew.offset_s - 3.0) > 0.39
    assert abs(skew.offset_s - 3.0) <= skew.error_s + 1e-9
