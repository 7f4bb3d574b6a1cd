"""Runs that later ones are held against: ``.pdtest/baselines/<fingerprint>/<name>.json``."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from pdtest.compare.series import Series, series_of
from pdtest.errors import PdtestError
from pdtest.results import Result
from pdtest.results.frozen import Frozen
from pdtest.whole import write_whole

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.+-]*")


class BadName(PdtestError):
    """A baseline's name that cannot be a file's."""

    title = "not a name"


class NoBaseline(PdtestError):
    """There is nothing to compare with."""

    title = "no baseline"


class BaselineUnreadable(PdtestError):
    """A baseline's file that is damaged, or of another version of pdtest."""

    title = "unreadable baseline"


class Baseline(Frozen):
    """The runs of one load on one target under one fingerprint."""

    version: Literal[1] = 1
    name: str
    fingerprint: str
    saved_unix_s: float
    results: tuple[Result, ...]

    @property
    def series(self) -> Series:
        """What its runs are repeats of."""
        return series_of(self.results[0])


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """All under ``directory``: ``.pdtest/baselines``."""

    directory: Path

    def save(self, name: str, results: Sequence[Result], *, add: bool = False) -> tuple[Baseline, ...]:
        """Keep valid results under a name, one baseline for each fingerprint; same ones are replaced, whole.

        ``add`` keeps what such a baseline has from other sessions. Runs bound by their client are not kept.
        Raises BadName, and BaselineUnreadable with ``add``.
        """
        if not _NAME.fullmatch(name):
            raise BadName(
                f"a baseline cannot be called {name!r}", expected="letters, digits and . _ + -", seen=name
            )
        by_fingerprint: dict[str, list[Result]] = {}
        for result in results:
            if result.client.valid:
                by_fingerprint.setdefault(result.fingerprint, []).append(result)
        saved = tuple(
            Baseline(
                name=name,
                fingerprint=key,
                saved_unix_s=time.time(),
                results=(*(self._others(name, key, members) if add else ()), *members),
            )
            for key, members in by_fingerprint.items()
        )
        for baseline in saved:
            write_whole(self._path(name, baseline.fingerprint), baseline.model_dump_json(indent=1) + "\n")
        return saved

    def find(self, name: str, fingerprint: str) -> Baseline | None:
        """The one of this name for what has this fingerprint. Raises BaselineUnreadable."""
        path = self._path(name, fingerprint)
        return _read(path) if path.is_file() else None

    def alike(self, name: str, series: Series) -> Baseline | None:
        """The latest of this name for the same load, under whatever conditions. Raises BaselineUnreadable."""
        found = [baseline for baseline in self.named(name) if baseline.series == series]
        return max(found, key=lambda baseline: baseline.saved_unix_s, default=None)

    def named(self, name: str) -> tuple[Baseline, ...]:
        """All of this name, by fingerprint. Raises BaselineUnreadable."""
        return tuple(_read(path) for path in sorted(self.directory.glob("*/*.json")) if path.stem == name)

    def all(self) -> Iterator[Baseline]:
        """By name, then by fingerprint. Raises BaselineUnreadable."""
        paths = sorted(self.directory.glob("*/*.json"), key=lambda path: (path.stem, path.parent.name))
        return map(_read, paths)

    def remove(self, name: str) -> int:
        """Delete all of this name, whether they can be read or not. Gives how many there were."""
        paths = [path for path in self.directory.glob("*/*.json") if path.stem == name]
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)

    def _others(self, name: str, fingerprint: str, results: Sequence[Result]) -> tuple[Result, ...]:
        """What is kept of sessions that these results are not of."""
        found = self.find(name, fingerprint)
        here = {result.run for result in results}
        return tuple(result for result in found.results if result.run not in here) if found else ()

    def _path(self, name: str, fingerprint: str) -> Path:
        return self.directory / fingerprint / f"{name}.json"


def _read(path: Path) -> Baseline:
    try:
        return Baseline.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise BaselineUnreadable(
            f"{path.stem} cannot be read",
            where=str(path),
            seen=str(error).partition("\n")[0],
            next_step=f"pdtest baseline remove {path.stem}, and save it again",
        ) from error
