from __future__ import annotations

import re

import pytest

from pdtest.embedded.connectors.corruptions import Corruption
from pdtest.embedded.connectors.lifetimes import KINDS
from pdtest.embedded.proxy.routing.faults import KINDS as FAULTS
from pdtest.kills.catalogue import CATALOGUE, QUICK, UnknownMutant, chosen
from pdtest.kills.mutant import Mutant, Place
from pdtest.mutants.gateway.bugs import made
from pdtest.wire.nixl import NixlContract

NAMES = [mutant.name for mutant in CATALOGUE]
#: F10 is speculative decoding, which the embedded engine does not have.
CLASSES = {f"F{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12)}


def test_there_are_at_least_forty_under_names_of_their_own() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 40
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)+", name) for name in NAMES)


def test_every_class_of_bugs_and_every_place_has_some() -> None:
    assert {bug for mutant in CATALOGUE for bug in mutant.bugs} == CLASSES
    assert {mutant.place for mutant in CATALOGUE} == set(Place)


@pytest.mark.parametrize("mutant", CATALOGUE, ids=lambda mutant: mutant.name)
def test_its_place_understands_its_switch(mutant: Mutant) -> None:
    if mutant.place is Place.KV:
        Corruption.read(mutant.switch)
    elif mutant.place is Place.LIFE:
        assert mutant.switch in KINDS
        assert mutant.role in {"prefill", "decode"}
    elif mutant.place is Place.PROXY:
        made(mutant.switch.partition(",after=")[0])
    elif mutant.place is Place.ROUTING:
        assert mutant.switch in FAULTS
    else:
        assert mutant.switch in {tamper.name for tamper in NixlContract().tampers}


def test_no_two_do_the_same() -> None:
    assert len({(mutant.place, mutant.role, mutant.switch) for mutant in CATALOGUE}) == len(CATALOGUE)


def test_some_suite_can_notice_each() -> None:
    suites = {"correctness", "transfer", "recovery", "performance", "routing"}
    for mutant in CATALOGUE:
        assert set(mutant.unseen) < suites, mutant
        assert all(mutant.unseen.values())


def test_the_selection_has_a_dozen_from_every_place() -> None:
    quick = chosen(["quick"])
    assert len(quick) == len(set(QUICK)) >= 12
    # Routers decide nothing about the handoff: their bugs have an environment of their own.
    assert {mutant.place for mutant in quick} == set(Place) - {Place.ROUTING}
    assert {bug for mutant in quick for bug in mutant.bugs} >= {"F1", "F2", "F3", "F4", "F8", "F9", "F12"}


def test_names_are_chosen_in_the_order_of_the_catalogue() -> None:
    assert [mutant.name for mutant in chosen([NAMES[7], NAMES[3]])] == [NAMES[3], NAMES[7]]
    assert chosen(["all"]) == CATALOGUE


def test_the_usual_ones_are_an_environments_to_say() -> None:
    assert chosen(["usual"]) == CATALOGUE
    assert [mutant.name for mutant in chosen(["usual"], usual=NAMES[4:6])] == NAMES[4:6]
    assert chosen(["usual"], usual=["quick"]) == chosen(["quick"])
    with pytest.raises(UnknownMutant, match="kv-swaped"):
        chosen(["usual"], usual=["kv-swaped"])


def test_an_unknown_name_is_met_with_the_nearest_one() -> None:
    with pytest.raises(UnknownMutant, match="did you mean 'kv-swapped'"):
        chosen(["kv-swaped"])
