"""Evidence: did KV move, and just as much as the prompts demand?

"Disaggregated" can silently be "decode computed everything again": the same text, status 200. So the
counters of both sides are read before and after, and their differences are held against what the
contract demands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pdtest.client.metrics import Metrics
from pdtest.environment.schema import Role
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.wire.contract import Contract, Demand
from pdtest.wire.evidence import Counter


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
        """How much a counter rose; None when a member on that side does not export it at all.

        A counter that appeared in between counts from zero: Prometheus clients create labelled
        counters and histograms at their first use.
        """
        members = [name for name, role in self.roles.items() if role is counter.role]
        rises = [self._rise_of(member, counter) for member in members]
        known = [rise for rise in rises if rise is not None]
        return sum(known) if known and len(known) == len(rises) else None

    def _rise_of(self, member: str, counter: Counter) -> float | None:
        after = self.after.metrics[member].total(counter.name, **counter.labels)
        if after is None:
            return None
        return after - (self.before.metrics[member].total(counter.name, **counter.labels) or 0.0)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a window must show: the sum of the handoffs' demands, and the carrier's counters."""

    contract: Contract
    demand: Demand
    #: Bytes of one block over all layers; None where the model's geometry is unknown.
    block_bytes: int | None
    #: Choices beyond the first of each request (n > 1). All choices fetch the same blocks under one name,
    #: and prefill takes every reader after the first for a late one (vLLM 0.32, nixl/pull_worker.py).
    further_choices: int = 0


def weigh(window: Window, claim: Claim) -> tuple[Finding, ...]:
    """Findings on tokens, bytes and failures. Exact: one block too few or too many is a failure."""
    return (*_tokens(window, claim), *_bytes(window, claim), *_failures(window, claim))


def settled(window: Window, claim: Claim) -> bool:
    """True once every counter that is exported has reached its demand: counters lag behind answers."""
    return all(finding.ruling is not Ruling.FAIL for finding in weigh(window, claim))


def _tokens(window: Window, claim: Claim) -> Iterator[Finding]:
    sources, demand = claim.contract.evidence.tokens, claim.demand
    wanted = (
        ("tokens transferred", sources.transferred, demand.transferred),
        ("tokens cached", sources.cached, demand.cached),
        ("tokens recomputed", sources.computed, demand.computed),
    )
    for check, counter, expected in wanted:
        yield _exact(window, check, counter, expected, proof=check == "tokens transferred" and expected > 0)


def _bytes(window: Window, claim: Claim) -> Iterator[Finding]:
    counter = claim.contract.evidence.moved
    if counter is None:
        return
    if claim.block_bytes is None:
        seen = window.rise(counter)
        # How large a block is is not known, but whether anything moved is.
        if seen is not None and (seen > 0) is not (claim.demand.blocks > 0):
            yield _finding(
                "bytes moved", Ruling.FAIL, f"{seen:.0f} {counter.unit} for {claim.demand.blocks} blocks"
            )
        return
    expected = claim.demand.blocks * claim.block_bytes
    yield _exact(window, "bytes moved", counter, expected, proof=expected > 0)


def _failures(window: Window, claim: Claim) -> Iterator[Finding]:
    """Failure counters must not rise. One that is not exported leaves nothing open: bytes tell more."""
    for counter in claim.contract.evidence.failures:
        seen = window.rise(counter)
        if seen:
            yield _finding(
                "transfer failures",
                Ruling.FAIL,
                f"{counter.name} on {counter.role} rose by {seen:.0f} ({counter.meaning})",
            )
    late = claim.contract.evidence.late
    seen = window.rise(late) if late else None
    if late and seen and seen > claim.further_choices:
        yield _finding("late reads", Ruling.FAIL, f"{late.name} rose by {seen:.0f} ({late.meaning})")


def _exact(window: Window, check: str, counter: Counter, expected: int, *, proof: bool) -> Finding:
    seen = window.rise(counter)
    if seen is None:
        return _finding(
            check,
            Ruling.INCONCLUSIVE,
            f"{counter.role} does not export {counter}; expected {expected} {counter.unit}",
        )
    if seen != expected:
        text = f"{counter} on {counter.role} rose by {seen:.0f}, the prompts demand {expected}"
        return _finding(check, Ruling.FAIL, f"{text} ({counter.meaning})")
    return _finding(check, Ruling.PASS, f"{expected} {counter.unit}, as the prompts demand", proof=proof)


def _finding(check: str, ruling: Ruling, text: str, *, proof: bool = False) -> Finding:
    return Finding(check=check, ruling=ruling, text=text, proof=proof)
