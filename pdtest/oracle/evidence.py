"""Evidence: did KV move, and just as much as the prompts demand?

"Disaggregated" can silently be "decode computed everything again": the same text, status 200. So the
counters of both sides are read before and after, and their differences are held against what the
contract demands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pdtest.client.metrics import Metrics
from pdtest.environment.schema import Role
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.wire.contract import Contract, Demand
from pdtest.wire.evidence import Counter
from pdtest.wire.multi import connectors

NOTHING = Demand(transferred=0, cached=0, computed=0, blocks=0)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All engines' metrics at one moment, by member name."""

    metrics: Mapping[str, Metrics]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Counter differences over a span of time, summed over the members of a role."""

    before: Reading
    after: Reading
    roles: Mapping[str, Role]

    def rise(self, counter: Counter) -> float | None:
        """How much a counter rose; None when it cannot be told, for the reason that `gap` gives.

        A counter that appeared in between counts from zero: Prometheus clients create labelled
        counters and histograms at their first use.
        """
        rises = [self._rise_of(member, counter) for member in self._counting(counter)]
        known = [rise for rise in rises if isinstance(rise, float)]
        return sum(known) if known and len(known) == len(rises) else None

    def gap(self, counter: Counter) -> str | None:
        """Why a counter's rise is unknown; None when it is known."""
        members = self._counting(counter)
        if not members:
            return f"there is no {counter.role} member that could export {counter}"
        rises = [self._rise_of(member, counter) for member in members]
        return "; ".join(rise for rise in rises if isinstance(rise, str)) or None

    def exported(self, counter: Counter) -> bool:
        """Whether any member shows the counter by now."""
        shown = (self.after.metrics.get(member) for member in self._counting(counter))
        return any(one is not None and one.total(counter.name, **counter.labels) is not None for one in shown)

    @cached_property
    def restarted(self) -> tuple[str, ...]:
        """Members whose counters started anew in between: what they show is not what happened."""
        return tuple(member for member in self.roles if self._is_reborn(member))

    def _counting(self, counter: Counter) -> list[str]:
        return [name for name, role in self.roles.items() if role is counter.role]

    def _rise_of(self, member: str, counter: Counter) -> float | str:
        """The rise, or why there is none."""
        before, after = self.before.metrics.get(member), self.after.metrics.get(member)
        now = None if after is None else after.total(counter.name, **counter.labels)
        if now is None:
            return f"{member} does not export {counter}"
        then = None if before is None else before.total(counter.name, **counter.labels)
        if member in self.restarted:
            return f"{member} restarted in between, and {counter} with it"
        rise = now - (then or 0.0)
        # Never added up with the rises of others: a fall could make an excess look exact.
        return rise if rise >= 0 else f"{counter} of {member} fell from {then:g} to {now:g}: it restarted"

    def _is_reborn(self, member: str) -> bool:
        before, after = self.before.metrics.get(member), self.after.metrics.get(member)
        if before is None or after is None:
            return False
        born, later = births(before), births(after)
        return any(later.get(name, at) != at for name, at in born.items())


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one connector has to move for one choice of one handoff.

    ``instead``: of a choice beyond the first, what it moves when it is scheduled after the first one's
    KV has arrived, which it then finds in decode's prefix cache. Engines start choices one by one, so both
    happen (seen at vLLM 0.32, one time in two).
    """

    carrier: Contract
    demand: Demand
    instead: Share | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a window must show: what each handoff demands, of the connector that carries it."""

    contract: Contract
    shares: tuple[Share, ...]
    #: Bytes of one block over all layers; None where the model's geometry is unknown.
    block_bytes: int | None
    #: Of the engine that has the most: each of prefill's counts its reads, each of decode's tells of its own.
    ranks: int = 1

    @property
    def further_choices(self) -> int:
        """Choices beyond the first of each request (n > 1).

        All choices fetch the same blocks under one name, and prefill takes every reader after the first
        for a late one (vLLM 0.32, nixl/pull_worker.py).
        """
        return sum(share.instead is not None for share in self.shares)

    def ways(self) -> Iterator[Claim]:
        """Every total that is right: one, unless further choices leave it open where their KV came from."""
        partial: list[tuple[Share, ...]] = [()]
        for share in self.shares:
            options = (share,) if share.instead is None else (share, replace(share.instead, instead=share))
            # Only sums count, so ways that add up to the same are one: their number stays small.
            different: dict[_Sums, tuple[Share, ...]] = {}
            for way in ((*taken, option) for taken in partial for option in options):
                different.setdefault(_sums(way), way)
            partial = list(different.values())
        yield from (replace(self, shares=shares) for shares in partial)

    @property
    def demand(self) -> Demand:
        """The sum over all handoffs."""
        return total([share.demand for share in self.shares])

    def demand_on(self, carrier: Contract) -> Demand:
        """The sum over the handoffs that one connector carries; nothing for one that carries none."""
        return total([share.demand for share in self.shares if share.carrier.name == carrier.name])


_Sums = tuple[tuple[str, Demand], ...]


def _sums(shares: Sequence[Share]) -> _Sums:
    by_carrier: dict[str, Demand] = {}
    for share in shares:
        by_carrier[share.carrier.name] = by_carrier.get(share.carrier.name, NOTHING) + share.demand
    return tuple(sorted(by_carrier.items(), key=lambda item: item[0]))


def total(demands: Sequence[Demand]) -> Demand:
    """The sum of several demands."""
    return sum(demands, start=NOTHING)


def weigh(window: Window, claim: Claim) -> tuple[Finding, ...]:
    """Findings on tokens, bytes and failures. Exact: one block too few or too many is a failure.

    Where a claim can be met in several ways the findings are those of one that is met, else of the first.
    """
    by_way = [_weigh(window, way) for way in claim.ways()]
    return next((findings for findings in by_way if not _any_failed(findings)), by_way[0])


def _weigh(window: Window, claim: Claim) -> tuple[Finding, ...]:
    exact = (_exact(window, wanted) for wanted in _wanted(claim) if not _is_left_out(window, wanted.counter))
    return (*_restarts(window), *exact, *_inexact_bytes(window, claim), *_failures(window, claim))


def _is_left_out(window: Window, counter: Counter) -> bool:
    """A counter that this generation of the connector does not export: tokens must tell by themselves."""
    return counter.drift and not window.exported(counter)


def _any_failed(findings: Sequence[Finding]) -> bool:
    return any(finding.ruling is Ruling.FAIL for finding in findings)


def settled(window: Window, claim: Claim) -> bool:
    """True once every counter that is exported has reached its demand: counters lag behind answers."""
    return not _any_failed(weigh(window, claim))


def exceeded(window: Window, claim: Claim) -> bool:
    """True once, whichever way is taken, a counter has risen beyond its demand: waiting cannot mend that."""
    return all(any(_is_beyond(window, wanted) for wanted in _wanted(way)) for way in claim.ways())


def _is_beyond(window: Window, wanted: _Wanted) -> bool:
    rise = window.rise(wanted.counter)
    return rise is not None and rise > wanted.expected


@dataclass(frozen=True)
class _Wanted:
    """A counter that must rise by an exact amount; ``proof``: that it did shows that KV moved."""

    check: str
    counter: Counter
    expected: int
    proof: bool


def _wanted(claim: Claim) -> Iterator[_Wanted]:
    sources, demand = claim.contract.evidence.tokens, claim.demand
    yield _Wanted("tokens transferred", sources.transferred, demand.transferred, demand.transferred > 0)
    yield _Wanted("tokens cached", sources.cached, demand.cached, proof=False)
    yield _Wanted("tokens recomputed", sources.computed, demand.computed, proof=False)
    if claim.block_bytes is not None:
        for check, counter, blocks in _movers(claim):
            yield _Wanted(check, counter, blocks * claim.block_bytes, blocks > 0)


def _movers(claim: Claim) -> Iterator[tuple[str, Counter, int]]:
    """The counters of bytes, and how many blocks each must account for: of a composition, per carrier.

    Also those of connectors that carry nothing: they must not move anything either.
    """
    singles = connectors(claim.contract)
    for single in singles:
        if single.evidence.moved is not None:
            check = "bytes moved" if len(singles) == 1 else f"bytes moved by {single.name}"
            yield check, single.evidence.moved, claim.demand_on(single).blocks


def _inexact_bytes(window: Window, claim: Claim) -> Iterator[Finding]:
    """How large a block is may not be known, but whether anything moved is."""
    for check, counter, blocks in _movers(claim) if claim.block_bytes is None else ():
        seen = window.rise(counter)
        if _is_left_out(window, counter):
            continue
        if seen is None:
            yield _unknown(window, check, counter, f"some for {blocks} blocks" if blocks else "none")
            continue
        right = (seen > 0) is (blocks > 0)
        yield Finding(
            check=check,
            ruling=Ruling.PASS if right else Ruling.FAIL,
            text=f"{seen:.0f} {counter.unit} for {blocks} blocks (of unknown size)",
            proof=right and blocks > 0,
        )


def _restarts(window: Window) -> Iterator[Finding]:
    for member in window.restarted:
        yield Finding(
            check="counters",
            ruling=Ruling.INCONCLUSIVE,
            text=f"{member} restarted in between, so its counters do not tell what moved",
        )


def _failures(window: Window, claim: Claim) -> Iterator[Finding]:
    """Failure counters must not rise. One that is not exported leaves nothing open: bytes tell more."""
    for counter in claim.contract.evidence.failures:
        seen = window.rise(counter)
        if seen:
            text = f"{counter.name} on {counter.role} rose by {seen:.0f} ({counter.meaning})"
            yield Finding(check="transfer failures", ruling=Ruling.FAIL, text=text)
    for late in (single.evidence.late for single in connectors(claim.contract)):
        seen = window.rise(late) if late else None
        if late and seen and seen > claim.further_choices * claim.ranks:
            text = f"{late.name} rose by {seen:.0f} ({late.meaning})"
            yield Finding(check="late reads", ruling=Ruling.FAIL, text=text)


def _exact(window: Window, wanted: _Wanted) -> Finding:
    counter, expected = wanted.counter, wanted.expected
    seen = window.rise(counter)
    if seen is None:
        return _unknown(window, wanted.check, counter, str(expected))
    if seen != expected:
        text = f"{counter} on {counter.role} rose by {seen:.0f}, the prompts demand {expected}"
        return Finding(check=wanted.check, ruling=Ruling.FAIL, text=f"{text} ({counter.meaning})")
    text = f"{expected} {counter.unit}, as the prompts demand"
    return Finding(check=wanted.check, ruling=Ruling.PASS, text=text, proof=wanted.proof)


def _unknown(window: Window, check: str, counter: Counter, expected: str) -> Finding:
    text = f"{window.gap(counter)}; expected {expected} {counter.unit}"
    return Finding(check=check, ruling=Ruling.INCONCLUSIVE, text=text)


def births(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """When the process and its counters came to be, as Prometheus's Python client tells (seconds)."""
    return {
        (name, frozenset(labels.items())): value
        for name, samples in metrics.samples.items()
        if name.endswith("_created") or name == "process_start_time_seconds"
        for labels, value in samples
    }
