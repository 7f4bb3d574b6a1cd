"""How KV moved while a load was on: told by the servers' counters, as the connector has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pdtest.metrics.rises import Rises
from pdtest.results import Better, Exchange, Measure
from pdtest.wire.contract import Contract
from pdtest.wire.evidence import Counter, Evidence
from pdtest.wire.multi import connectors

_WORDS = {"bytes": "bytes", "transfers": "transfers", "s": "how long transfers take"}


def transfer_measures(
    contract: Contract, answered: Sequence[Exchange], rises: Rises, *, block_size: int
) -> Iterator[Measure]:
    """All measures named ``kv_transfer_...``.

    Others' requests raise the counters too: on a deployment that is not ours alone they show too much.
    """
    count = len(answered)
    every = [single.evidence for single in connectors(contract)]
    rate = _rate(contract, answered, rises, block_size=block_size)
    yield _measure("kv_transfer_success_rate", rate, "1", Better.HIGHER, count)
    moved = _sum(every, rises, lambda evidence: evidence.moved, "bytes")
    yield _measure("kv_transfer_bytes", moved, "bytes", Better.NEITHER, count)
    mean = moved / count if isinstance(moved, float) and count else moved
    yield _measure("kv_transfer_bytes_mean", mean, "bytes", Better.NEITHER, count)
    transfers = _sum(every, rises, lambda evidence: evidence.transfers, "transfers")
    seconds = _sum(every, rises, lambda evidence: evidence.seconds, "s")
    took = _ratio(seconds, transfers, "no transfer was counted")
    yield _measure("kv_transfer_time_mean", took, "s", Better.LOWER, count)
    speed = _ratio(moved, seconds, "transfers took no time")
    yield _measure("kv_transfer_bytes_per_s", speed, "bytes/s", Better.HIGHER, count)
    yield _measure("kv_transfer_failures", _failures(every, rises), "transfers", Better.LOWER, count)


def _rate(contract: Contract, answered: Sequence[Exchange], rises: Rises, *, block_size: int) -> float | str:
    """Of the prompt tokens that decode needed from elsewhere, the share that it did not compute itself.

    What its own cache held was not needed. Failures that the connector counted bring it down, too: a load
    that is tried again ends well and was none the less a failure.
    """
    tokens = contract.evidence.tokens
    moved, computed = rises.rise(tokens.transferred), rises.rise(tokens.computed)
    if moved is None or computed is None:
        return rises.gap(tokens.transferred) or rises.gap(tokens.computed) or "decode does not tell"
    own = sum(contract.demand(one.prompt_tokens, block_size=block_size).computed for one in answered)
    again = max(computed - own, 0.0)
    if not moved + again:
        return "decode needed nothing from elsewhere"
    failed = _failures([single.evidence for single in connectors(contract)], rises)
    kept = 1 - failed / len(answered) if isinstance(failed, float) and answered else 1.0
    return max(0.0, min(moved / (moved + again), kept))


def _failures(every: Sequence[Evidence], rises: Rises) -> float | str:
    """By how much the failure counters rose; those that are not exported have not."""
    known = [rises.rise(counter) for evidence in every for counter in evidence.failures]
    told = [rise for rise in known if rise is not None]
    return float(sum(told)) if told else "the connector exports no counter of failures"


def _sum(
    every: Sequence[Evidence], rises: Rises, pick: Callable[[Evidence], Counter | None], unit: str
) -> float | str:
    """Over the connectors of a composition that count in ``unit``."""
    counters = [counter for counter in map(pick, every) if counter is not None and counter.unit == unit]
    known = [rises.rise(counter) for counter in counters]
    told = [rise for rise in known if rise is not None]
    if told:
        return float(sum(told))
    gaps = [rises.gap(counter) for counter in counters]
    return next((gap for gap in gaps if gap), f"the connector does not count {_WORDS[unit]}")


def _ratio(over: float | str, under: float | str, nothing: str) -> float | str:
    if isinstance(over, str) or isinstance(under, str):
        return over if isinstance(over, str) else str(under)
    return over / under if under else nothing


def _measure(name: str, value: float | str, unit: str, better: Better, samples: int) -> Measure:
    known = None if isinstance(value, str) else value
    why = value if isinstance(value, str) else None
    return Measure(name=name, value=known, unit=unit, better=better, samples=samples, why=why)
