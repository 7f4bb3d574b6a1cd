"""What follows from runs of topologies: known differences are found, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pdtest.environment.compare import Compare
from pdtest.environment.performance import Performance
from pdtest.environment.schema import Host, Member, Role, Thresholds
from pdtest.oracle.gains import gains_of
from pdtest.oracle.side import Side
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.report.gains import gains_table
from pdtest.results import Better, Measure, Result

from .loads import result_of

NOISE = (0.98, 1.01, 1.0, 0.99, 1.02)


def environment(claims: dict[str, Any], engines: tuple[str, ...] = ("a", "b", "c")) -> Any:
    topologies = {"mixed": {"members": [*engines]}, "two": {"members": ["a", "b", "c"], "claims": claims}}
    members = {name: Member(role=Role.COLOCATED, service="embedded-engine") for name in "abcd"}
    return SimpleNamespace(
        name="mine",
        performance=Performance.model_validate({"topologies": topologies}),
        compare=Compare(),
        members=members,
        hosts={"local": Host()},
        thresholds=Thresholds(),
    )


def sides(made: Any) -> dict[str, Side]:
    return {
        name: Side(name=name, ways=(), engines=dict.fromkeys(one.members, Role.COLOCATED), contract=None)
        for name, one in made.performance.topologies.items()
    }


def runs(target: str, *, tokens: float, wait: float, valid: bool = True) -> tuple[Result, ...]:
    """Five runs with a noise of a few percent."""
    made, cost = [], 1000 / tokens
    for repeat, factor in enumerate(NOISE):
        result = result_of(target=target, repeat=repeat, valid=valid, success_rate=1.0)
        measures = [
            Measure(name="success_rate", value=1.0, unit="1", better=Better.HIGHER),
            Measure(name="output_tokens_per_s", value=tokens * factor, unit="tokens/s", better=Better.HIGHER),
            Measure(name="cost_per_million_tokens", value=cost / factor, unit="cost", better=Better.LOWER),
            Measure(name="e2e_p99", value=None, unit="s", better=Better.LOWER, why="too few"),
            Measure(name="e2e_p90", value=wait / factor, unit="s", better=Better.LOWER),
        ]
        made.append(result.model_copy(update={"measures": tuple(measures)}))
    return tuple(made)


def judged(
    claims: dict[str, Any], *, tokens: float = 150.0, wait: float = 0.12, **how: Any
) -> tuple[str, dict[str, Finding]]:
    """The mixed one makes 100 tokens/s, and answers in 380 ms. Gives the table and findings by check."""
    made = environment(claims, **how)
    results = {"mixed": runs("mixed", tokens=100, wait=0.38), "two": runs("two", tokens=tokens, wait=wait)}
    gains, found = gains_of(made, sides(made), results)
    return gains_table(gains), {one.check: one for one in found}


CLAIMS = {"output_tokens_per_s": {"at_least": 1.4}, "e2e_p90": {"at_most": 0.35}}


def test_a_gain_that_is_there_is_confirmed() -> None:
    table, found = judged(CLAIMS)

    assert {name: one.ruling for name, one in found.items()} == {
        "success_rate": Ruling.PASS,
        "output_tokens_per_s": Ruling.PASS,
        "e2e_p90": Ruling.PASS,
    }
    assert found["success_rate"].text.startswith("two: median 1")
    assert "claimed is >= 1.4: confirmed" in found["output_tokens_per_s"].text
    assert max(map(len, table.splitlines())) <= 80
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert "output_tokens_per_s 100 tokens/s 150 tokens/s" in lines
    assert any(line.startswith("output_tokens_per_s 1.50 ") and line.endswith("better") for line in lines)
    assert any(line.startswith("cost_per_million_tokens 0.67 ") and line.endswith("better") for line in lines)
    # The farthest percentile that all runs can tell.
    assert "e2e_p99" not in table


def test_one_that_is_not_is_refuted() -> None:
    table, found = judged(CLAIMS, tokens=80.0, wait=0.5)

    assert found["output_tokens_per_s"].ruling is Ruling.FAIL
    assert found["e2e_p90"].ruling is Ruling.FAIL
    assert "refuted" in table
    assert table.count("worse") == 3


def test_what_hardly_differs_is_neither() -> None:
    table, found = judged({}, tokens=101.0, wait=0.38)

    assert [*found] == ["success_rate"]
    assert "better" not in table
    assert "worse" not in table
    assert table.count("same") == 3


def test_nothing_follows_from_other_hardware() -> None:
    table, found = judged(CLAIMS, engines=("a", "b", "c", "d"))

    assert {one.ruling for name, one in found.items() if name != "success_rate"} == {Ruling.INCONCLUSIVE}
    assert [*found] == ["success_rate", "hardware"]
    assert "mixed: 4 engines; two: 3 engines" in " ".join(table.split())


def test_runs_that_are_bound_by_their_client_decide_nothing() -> None:
    made = environment(CLAIMS)
    results = {
        "mixed": runs("mixed", tokens=100, wait=0.38),
        "two": runs("two", tokens=150, wait=0.12, valid=False),
    }
    gains, found = gains_of(made, sides(made), results)

    assert {one.ruling for one in found if one.check != "success_rate"} == {Ruling.INCONCLUSIVE}
    assert "5 of 5 runs of two INVALID, bound by their client" in gains.notes


@pytest.mark.parametrize("count", [2, 3])
def test_every_pair_is_compared(count: int) -> None:
    made = environment({})
    made.performance.topologies["three"] = made.performance.topologies["two"]
    every = sides(made)
    results = {name: runs(name, tokens=100 + 30 * number, wait=0.1) for number, name in enumerate(every)}
    few = {name: results[name][:count] for name in results}
    gains, _ = gains_of(made, every, few)

    pairs = [(pair.new.name, pair.old.name) for pair in gains.comparisons]
    assert pairs == [("two", "mixed"), ("three", "mixed"), ("three", "two")]
    assert gains.runs("three", "output_tokens_per_s") == tuple(160 * one for one in NOISE[:count])
    assert any("too few runs" in note for note in gains.notes)
