"""Holding topologies against one another: throughput, tail latency, what a device gives and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final

from pdtest.compare import compare
from pdtest.compare.comparison import Comparison
from pdtest.compare.gains import Claimed, Gains
from pdtest.compare.verdict import Verdict
from pdtest.environment.compare import Compare
from pdtest.environment.performance import Limit
from pdtest.environment.schema import Environment
from pdtest.oracle.claims import claim_findings
from pdtest.oracle.hardware import hardware_of
from pdtest.oracle.load_findings import load_findings, served
from pdtest.oracle.side import Side
from pdtest.oracle.topology import unequal
from pdtest.oracle.verdict import Finding
from pdtest.results import Result

_FIRST: Final = ("output_tokens_per_s",)
_LAST: Final = ("output_tokens_per_s_per_device", "tokens_per_joule", "cost_per_million_tokens")
_WAITS: Final = ("ttft", "tbt", "e2e")
#: From the farthest: which can be told depends on how many requests a run has.
_TAILS: Final = ("p99", "p95", "p90", "p50")


def gains_of(
    environment: Environment, sides: Mapping[str, Side], results: Mapping[str, Sequence[Result]]
) -> tuple[Gains, list[Finding]]:
    """What came of ``results``, by topology in the order of ``sides``; and what must come of them.

    Each must be served as the environment's thresholds say. Claims are only looked at on equal hardware.
    Raises MissingExtra.
    """
    every = [one for results_of in results.values() for one in results_of]
    claims = {name: one.claims for name, one in environment.performance.topologies.items()}
    measures = (*_FIRST, *_tails(every), *_LAST)
    claimed = dict.fromkeys(name for limits in claims.values() for name in limits)
    judged = tuple(dict.fromkeys((*measures, *claimed)))
    pairs = [*_pairs(results, environment.compare.model_copy(update={"judged": judged}))]
    different = unequal(environment, sides)
    made = [] if different else [*_claims(pairs, claims)]
    gains = Gains(
        environment=environment.name,
        workload=str(every[0].workload.get("name", "load")),
        measures=judged,
        hardware={name: str(hardware_of(environment, side.engines)) for name, side in sides.items()},
        unequal=different[0].text if different else "",
        comparisons=tuple(_only(pair, judged) for pair in pairs),
        claims=tuple(
            Claimed(topology=name, measure=one.check, ruling=one.ruling, text=one.text) for name, one in made
        ),
        notes=(*_open(pairs), *_notes(results, judged)),
    )
    thresholds = environment.thresholds
    found = [
        replace(finding, text=f"{name}: {finding.text}")
        for name, side in sides.items()
        for finding in load_findings(results[name], served(thresholds, apart=side.moves))
    ]
    return gains, [*found, *different, *(finding for _, finding in made)]


def _tails(results: Sequence[Result]) -> Iterator[str]:
    """Of each wait the farthest percentile that every valid run can tell."""
    valid = [one for one in results if one.client.valid]
    for wait in _WAITS:
        for tail in _TAILS:
            measures = [one.measure(f"{wait}_{tail}") for one in valid]
            if valid and all(one is not None and one.value is not None for one in measures):
                yield f"{wait}_{tail}"
                break


def _pairs(results: Mapping[str, Sequence[Result]], settings: Compare) -> Iterator[Comparison]:
    for old, new in combinations(results, 2):
        yield compare(results[old], results[new], settings, names=(old, new), same_conditions=False)


def _claims(
    pairs: Sequence[Comparison], claims: Mapping[str, Mapping[str, Limit]]
) -> Iterator[tuple[str, Finding]]:
    """Each topology's against the first, with which the first pairs are."""
    first = next(iter(claims))
    for pair in pairs:
        if pair.old.name == first:
            for finding in claim_findings(pair, claims[pair.new.name]):
                yield pair.new.name, finding


def _only(comparison: Comparison, measures: Sequence[str]) -> Comparison:
    kept = tuple(change for change in comparison.changes if change.measure in measures)
    return comparison.model_copy(update={"changes": kept})


def _open(pairs: Sequence[Comparison]) -> Iterator[str]:
    for pair in pairs:
        if pair.verdict in {Verdict.INCONCLUSIVE, Verdict.INVALID}:
            yield f"{pair.new.name} / {pair.old.name}, {pair.verdict}: {pair.why}"


def _notes(results: Mapping[str, Sequence[Result]], measures: Sequence[str]) -> Iterator[str]:
    """Which of them nobody could measure, and why; which runs say nothing."""
    valid = [one for results_of in results.values() for one in results_of if one.client.valid]
    for name in measures:
        taken = [one for result in valid if (one := result.measure(name)) is not None]
        if taken and all(one.value is None for one in taken):
            yield f"no {name}: {taken[0].why or 'it is not known why'}"
    for name, results_of in results.items():
        bound = sum(not one.client.valid for one in results_of)
        if bound:
            yield f"{bound} of {len(results_of)} runs of {name} INVALID, bound by their client"
