from __future__ import annotations

from pdtest.kills.mutant import Mutant, Place
from pdtest.kills.table import Cell, KillTable, Outcome

ONE = Mutant(name="kv-one", place=Place.KV, bugs=("F1",), does="spoils", switch="zeroed")
TWO = Mutant(
    name="kv-two",
    place=Place.KV,
    bugs=("F2",),
    does="spoils",
    switch="stale",
    unseen={"transfer": "looks away"},
)
KILLED = Cell(outcome=Outcome.KILLED, test="t", seconds=1.0, located="token 3")
SURVIVED = Cell(outcome=Outcome.SURVIVED)


def table(**cells: Cell) -> KillTable:
    """`cells` by mutant and suite, as in ``one_transfer``."""
    names = {"one": ONE.name, "two": TWO.name}
    placed = {(names[key.split("_")[0]], key.split("_")[1]): cell for key, cell in cells.items()}
    return KillTable(environment="e", mutants=(ONE, TWO), suites=("correctness", "transfer"), cells=placed)


def test_all_that_can_be_noticed_are() -> None:
    full = table(one_correctness=KILLED, one_transfer=KILLED, two_correctness=KILLED)
    assert full.clean
    assert full.survivors == ()
    assert full.cell(TWO, "transfer") == Cell(outcome=Outcome.UNSEEN, located="looks away")


def test_a_suite_that_does_not_notice_makes_a_survivor() -> None:
    part = table(one_correctness=KILLED, one_transfer=SURVIVED, two_correctness=KILLED)
    assert part.survivors == (ONE,)
    assert not part.clean


def test_undecided_is_not_noticed_and_not_run_neither() -> None:
    undecided = Cell(outcome=Outcome.OPEN)
    assert table(one_correctness=undecided, one_transfer=KILLED, two_correctness=KILLED).survivors == (ONE,)
    assert table(one_correctness=KILLED, one_transfer=KILLED).survivors == (TWO,)


def test_a_false_alarm_is_not_clean() -> None:
    full = table(one_correctness=KILLED, one_transfer=KILLED, two_correctness=KILLED)
    full.false_alarms.append("test_x")
    assert not full.clean
    assert full.as_json()["false_alarms"] == ["test_x"]


def test_json_has_each_cell() -> None:
    shown = table(one_correctness=KILLED, one_transfer=SURVIVED, two_correctness=KILLED).as_json()
    assert (shown["killed"], shown["survivors"]) == (1, ["kv-one"])
    assert shown["mutants"][0]["suites"]["correctness"] == {
        "outcome": "killed",
        "test": "t",
        "seconds": 1.0,
        "located": "token 3",
    }
    assert shown["mutants"][1]["suites"]["transfer"]["outcome"] == "-"


def test_a_table_can_be_read_again() -> None:
    full = table(one_correctness=KILLED, one_transfer=SURVIVED, two_correctness=KILLED)
    full.false_alarms.append("test_x")
    full.absent["kv-three"] = "no switch"
    again = KillTable.of_json(full.as_json())
    assert again.as_json() == full.as_json()
    assert [one.name for one in again.survivors] == ["kv-one"]
