"""The result of one load: one JSON, with a row for each request and a file for each monitor beside it.

Where: ``<run>/<environment>/loads/<label>/{result.json, requests.jsonl, monitor-<name>.json, analysis.png}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from pdtest.errors import PdtestError
from pdtest.results.client import ClientHealth
from pdtest.results.exchange import Exchange
from pdtest.results.frozen import Frozen
from pdtest.results.measure import Measure
from pdtest.results.monitor import Monitor
from pdtest.results.sender import Sender

FILE: Final = "result.json"
EXCHANGES: Final = "requests.jsonl"


class ResultUnreadable(PdtestError):
    """A result that is damaged, or of another version of pdtest."""

    title = "unreadable result"


class Result(Frozen):
    """``fingerprint`` names what was measured on what: results of equal ones may be compared.

    ``target``: which side of a comparison it is, ``pd`` or ``single``. ``label``: its folder, unique in
    its environment and run. ``repeat`` numbers the runs of one load. ``begun_unix_s`` is when the
    load's clock was 0, ``begun_monotonic_s`` the same of the host's CLOCK_MONOTONIC. ``steady_s``: the
    window in which the wanted load was on, load's clock; None where there was none. ``senders``: the
    client's processes that were on other hosts; none: all were on this machine. ``monitors``: names;
    ``monitor-<name>.json`` has the readings. ``conditions``: what the fingerprint is the digest of.
    ``build``: versions of the programs that were measured, which are no part of it.
    """

    version: Literal[1] = 1
    run: str
    environment: str
    fingerprint: str
    target: str = "pd"
    label: str
    repeat: int = 0
    workload: dict[str, Any]
    begun_unix_s: float
    begun_monotonic_s: float
    lasted_s: float
    steady_s: tuple[float, float] | None
    client: ClientHealth
    senders: tuple[Sender, ...] = ()
    measures: tuple[Measure, ...]
    monitors: tuple[str, ...] = ()
    conditions: dict[str, Any] = Field(default_factory=dict)
    build: dict[str, str] = Field(default_factory=dict)

    def measure(self, name: str) -> Measure | None:
        """The one of this name."""
        return next((one for one in self.measures if one.name == name), None)


def write_result(
    directory: Path, result: Result, exchanges: Iterable[Exchange], monitors: Sequence[Monitor] = ()
) -> Path:
    """Write all into ``directory``, the result last: where it is, the rest is. Gives its path."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / EXCHANGES).open("w", encoding="utf-8") as rows:
        rows.writelines(exchange.model_dump_json() + "\n" for exchange in exchanges)
    for monitor in monitors:
        path = directory / f"monitor-{monitor.name}.json"
        path.write_text(monitor.model_dump_json(indent=1) + "\n", encoding="utf-8")
    written = directory / FILE
    written.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return written


def read_results(run: Path) -> Iterator[tuple[Path, Result]]:
    """All results under a run's directory, with their folders, in the order they were measured.

    Raises ResultUnreadable.
    """
    found = [(path.parent, read_result(path)) for path in run.rglob(FILE)]
    yield from sorted(found, key=lambda one: one[1].begun_unix_s)


def read_result(path: Path) -> Result:
    """The one in this file. Raises ResultUnreadable."""
    try:
        return Result.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultUnreadable(
            "a load's result cannot be read",
            expected="JSON that this version of pdtest has written",
            seen=str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error),
            where=str(path),
            next_step="measure again, or move its folder away",
        ) from error


def read_exchanges(directory: Path) -> Iterator[Exchange]:
    """The rows beside a result, in its folder."""
    with (directory / EXCHANGES).open(encoding="utf-8") as rows:
        for row in rows:
            yield Exchange.model_validate_json(row)


def read_monitor(directory: Path, name: str) -> Monitor:
    """One of `Result.monitors`."""
    return Monitor.model_validate_json((directory / f"monitor-{name}.json").read_text(encoding="utf-8"))
