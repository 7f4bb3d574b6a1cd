"""How many requests were answered, and how many of them well. What failed is always counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pdtest.environment.performance import Slo
from pdtest.metrics.latency import e2e, tpot, ttft
from pdtest.results import Better, Exchange, Measure


def is_good(exchange: Exchange, slo: Slo) -> bool:
    """Whether it was answered completely and kept to every limit that is given.

    An answer without a token keeps to none on TTFT and end-to-end. One whose tokens all came at once keeps
    to any on time per token.
    """
    if not exchange.ok:
        return False
    held = (
        (slo.ttft_s, ttft(exchange), False),
        (slo.e2e_s, e2e(exchange), False),
        (slo.tpot_s, tpot(exchange), True),
    )
    return all(
        otherwise if seen is None else seen <= limit for limit, seen, otherwise in held if limit is not None
    )


def goodput_measures(exchanges: Sequence[Exchange], slo: Slo, *, lasted_s: float) -> Iterator[Measure]:
    """`success_rate`; `goodput_share` and `goodput`, both None without an SLO."""
    count = len(exchanges)
    answered = sum(one.ok for one in exchanges)
    good = sum(is_good(one, slo) for one in exchanges)
    none = None if slo.given else "the environment has no performance.slo"
    yield _share("success_rate", answered, count, None)
    yield _share("goodput_share", good, count, none)
    yield Measure(
        name="goodput",
        value=None if none or not lasted_s else good / lasted_s,
        unit="requests/s",
        better=Better.HIGHER,
        samples=count,
        why=none,
    )


def _share(name: str, part: int, whole: int, why: str | None) -> Measure:
    nothing = why or (None if whole else "no request")
    return Measure(
        name=name,
        value=None if nothing else part / whole,
        unit="1",
        better=Better.HIGHER,
        samples=whole,
        why=nothing,
    )
