"""The processes that a load is put on with."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from pdtest.errors import MissingExtra, PdtestError
from pdtest.launch.clock import Skew, compare_now
from pdtest.load.hand import Hand, HandHere, Hire
from pdtest.load.report import Report
from pdtest.load.share import Share
from pdtest.load.way import is_tls, urls_of
from pdtest.results import Sender

#: So long after all are ready they begin: each has time to be told. Longer where that is a way.
_LEAD_S: Final = 0.2
_FAR_LEAD_S: Final = 1.0
_TAIL: Final = 2000
_HERE: Final = Skew(offset_s=0.0, error_s=0.0)

T = TypeVar("T")


class LoadBroken(PdtestError):
    """A process of the load's client ended before its time: nothing was measured."""

    title = "load broken off"


class Crew:
    """Processes of one load, one for each share. They end with the context, whatever happens."""

    def __init__(self, shares: Sequence[Share], hire: Hire | None = None) -> None:
        """``hire`` starts a process elsewhere; those of this machine need the extra ``load``."""
        urls = {url for share in shares for url in urls_of(share.ways)}
        packages = ("uvloop", "httptools", *("aiohttp" for url in urls if is_tls(url)))
        for package in () if hire else packages:
            if find_spec(package) is None:
                raise MissingExtra(package, "load", "a load")
        self._shares = shares
        self._hire: Hire = hire or HandHere
        self._hands: dict[int, Hand] = {}
        self._skews: dict[int, Skew] = {}

    def __enter__(self) -> Self:
        """Starts them. Raises HostError where that is on other hosts."""
        try:
            self._each(self._start)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends them."""
        self._end()

    def prepare(self) -> None:
        """Compare clocks, give each its share, and wait until all are warm. Raises LoadBroken."""
        self._each(self._hand_over)

    def work(self) -> tuple[float, list[Report]]:
        """When it began, CLOCK_MONOTONIC of this machine, and what they saw. Raises LoadBroken.

        All begin at that moment, each by its own clock.
        """
        far = any(hand.host is not None for hand in self._hands.values())
        begun_at = time.monotonic() + (_FAR_LEAD_S if far else _LEAD_S)
        return begun_at, self._each(lambda number: self._begin(number, begun_at))

    @property
    def senders(self) -> tuple[Sender, ...]:
        """Those on other hosts, once they are prepared, with their clocks."""
        return tuple(
            Sender(
                worker=self._shares[number].worker,
                host=hand.host,
                clock_offset_s=self._skews[number].offset_s,
                clock_error_s=self._skews[number].error_s,
            )
            for number, hand in sorted(self._hands.items())
            if hand.host is not None
        )

    def _start(self, number: int) -> None:
        self._hands[number] = self._hire()

    def _hand_over(self, number: int) -> None:
        here = self._hands[number].host is None
        self._skews[number] = _HERE if here else compare_now(lambda: self._clock(number), time.monotonic)
        self._say(number, pickle.dumps(self._shares[number]))
        self._hear(number)

    def _clock(self, number: int) -> float:
        self._say(number, pickle.dumps(None))
        return float(self._hear(number))

    def _begin(self, number: int, begun_at: float) -> Report:
        self._say(number, f"{begun_at + self._skews[number].offset_s!r}\n".encode())
        report: Report = self._hear(number)
        return report

    def _each(self, what: Callable[[int], T]) -> list[T]:
        """At once, for each process. The first that breaks ends all."""
        with ThreadPoolExecutor(len(self._shares)) as pool:
            futures = [pool.submit(what, number) for number in range(len(self._shares))]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:
                self._kill()  # what the threads read from
                raise
        return [future.result() for future in futures]

    def _say(self, number: int, what: bytes) -> None:
        stdin = self._hands[number].stdin
        try:
            stdin.write(what)
            stdin.flush()
        except (OSError, ValueError):  # it is gone, or was ended from another thread
            raise self._broken(number) from None

    def _hear(self, number: int) -> Any:
        try:
            return pickle.load(self._hands[number].stdout)  # noqa: S301 - from our own program
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            raise self._broken(number) from None

    def _broken(self, number: int) -> LoadBroken:
        hand = self._hands[number]
        code, said = hand.end()
        return LoadBroken(
            f"process {number} of the client ended with {code}",
            expected="what it measured",
            seen=said[-_TAIL:] or "nothing on stderr",
            where=hand.where,
        )

    def _kill(self) -> None:
        for hand in self._all():
            hand.kill()

    def _end(self) -> None:
        self._kill()
        for hand in self._all():
            hand.end()

    def _all(self) -> Iterable[Hand]:
        return tuple(self._hands.values())
