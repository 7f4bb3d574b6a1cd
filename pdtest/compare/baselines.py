"""Runs that later ones are held against, kept by fingerprint: ``<home>/baselines/<fingerprint>/<name>.json``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pdtest.results import Result
from pdtest.results.frozen import Frozen


class Baseline(Frozen):
    """The runs of one load on one target under one fingerprint."""

    version: Literal[1] = 1
    name: str
    fingerprint: str
    saved_unix_s: float
    results: tuple[Result, ...]


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """All under ``directory``: ``.pdtest/baselines``."""

    directory: Path

    def save(self, name: str, results: Sequence[Result]) -> tuple[Baseline, ...]:
        """Keep results under a name, one baseline for each fingerprint; same ones are replaced, whole."""
        raise NotImplementedError

    def find(self, name: str, fingerprint: str) -> Baseline | None:
        """The one of this name for what has this fingerprint."""
        raise NotImplementedError

    def all(self) -> Iterator[Baseline]:
        """By name, then by fingerprint."""
        raise NotImplementedError

    def remove(self, name: str) -> int:
        """Delete all of this name. Gives how many there were."""
        raise NotImplementedError
