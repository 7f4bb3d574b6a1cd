"""Energy over a span of a load, from monitors: per token, per request, per phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pdtest.results.exchange import Exchange
from pdtest.results.measure import Measure
from pdtest.results.monitor import Monitor


@dataclass(frozen=True, kw_only=True)
class Energy:
    """``joules`` is None where it cannot be told; ``why`` says why. ``monitors``: those it was read from."""

    joules: float | None
    why: str | None = None
    monitors: tuple[str, ...] = ()


def energy(monitor: Monitor, begin_s: float, end_s: float) -> Energy:
    """What one device took from ``begin_s`` to ``end_s`` of the load's clock.

    From its energy counter where it has one, else its power integrated over time (trapezoids).
    """
    raise NotImplementedError


def energy_measures(
    monitors: Sequence[Monitor],
    exchanges: Sequence[Exchange],
    span_s: tuple[float, float],
    phases: Mapping[str, str],
) -> tuple[Measure, ...]:
    """All that docs/metrics.md lists under energy, over a span of the load's clock.

    ``phases``: by member, ``prefill`` or ``decode``; members that do both (``colocated``) are left out.
    Always the same names: ``energy``, ``power_mean``, ``power_max``, ``energy_per_token``,
    ``tokens_per_joule``, ``energy_per_request``, ``energy_prefill``, ``energy_decode``,
    ``energy_prefill_per_token`` (of prompts), ``energy_decode_per_token`` (of answers).
    """
    raise NotImplementedError
