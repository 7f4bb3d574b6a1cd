from __future__ import annotations

from pdtest.kills.mutant import Mutant, Place
from pdtest.kills.table import Cell, KillTable, Outcome
from pdtest.report.kills import WIDTH, kill_table


def mutant(name: str) -> Mutant:
    return Mutant(name=name, place=Place.KV, bugs=("F1", "F12"), does="spoils one block", switch="zeroed")


def shown(*outcomes: Outcome) -> list[str]:
    mutants = [mutant(f"kv-with-a-name-of-some-length-{number}") for number in range(len(outcomes))]
    test = "suites/correctness/test_prefix.py::test_same_prompt_twice[embedded-mutants-client-long-parameter]"
    table = KillTable(environment="e", mutants=mutants, suites=["correctness", "transfer"], took_s=12)
    for one, outcome in zip(mutants, outcomes, strict=True):
        cell = Cell(outcome=outcome, test=test, seconds=1.25, located="token 3 is wrong")
        table.cells |= {(one.name, suite): cell for suite in table.suites}
    table.absent = {"proxy-a": "no proxy", "proxy-b": "no proxy"}
    return kill_table(table).splitlines()


def test_the_table_is_eighty_columns_wide() -> None:
    grid = shown(Outcome.KILLED, Outcome.SURVIVED)[:3]
    assert max(map(len, grid)) <= WIDTH
    assert grid[0].split() == ["mutant", "class", "correctness", "transfer"]
    assert " 1.2 s same_prompt_twi" in grid[1]
    assert grid[2].split()[-2:] == ["survived", "survived"]


def test_survivors_are_named_with_what_they_do() -> None:
    text = "\n".join(shown(Outcome.KILLED, Outcome.SURVIVED, Outcome.BROKEN))
    assert "1 of 3 mutants killed on e in 12 s" in text
    assert text.count("survived: kv-with") == 2
    assert "(spoils one block)" in text
    assert "2 not planted, since no proxy" in text
