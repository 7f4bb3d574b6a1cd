"""Which results are repeats of each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pdtest.results import Result


@dataclass(frozen=True, kw_only=True, order=True)
class Series:
    """One load on one target of one environment, however often it was measured.

    ``workload``: its name where it has one, else a digest of it.
    """

    environment: str
    target: str
    workload: str


def series_of(result: Result) -> Series:
    """The one it belongs to."""
    return Series(environment=result.environment, target=result.target, workload=_name(result.workload))


def in_series(results: Iterable[Result]) -> dict[Series, tuple[Result, ...]]:
    """Results by series, in the order in which each was measured first."""
    found: dict[Series, list[Result]] = {}
    for result in results:
        found.setdefault(series_of(result), []).append(result)
    return {series: tuple(members) for series, members in found.items()}


def digest(facts: Mapping[str, Any]) -> str:
    """16 hex digits that two mappings have in common only if they say the same."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _name(workload: Mapping[str, Any]) -> str:
    name = workload.get("name")
    return name if isinstance(name, str) else digest(workload)[:8]
