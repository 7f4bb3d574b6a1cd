from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from pdtest.wire import registry
from pdtest.wire.multi import MultiContract
from pdtest.wire.registry import BrokenContract, UnknownContract, contract_for, contracts


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    found: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda **_: found)
    contracts.cache_clear()
    yield found
    contracts.cache_clear()


def test_one_name_is_that_contract() -> None:
    assert contract_for(["nixl"]) is contracts()["nixl"]


def test_several_names_are_a_composition_in_order() -> None:
    contract = contract_for(["example", "nixl"])
    assert isinstance(contract, MultiContract)
    assert contract.name == "example+nixl"


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownContract, match="did you mean 'nixl'"):
        contract_for(["nixel"])


def test_entry_point_adds_a_contract(entry_points: list[EntryPoint]) -> None:
    entry_points.append(
        EntryPoint(name="mine", value="pdtest.wire.example:ExampleContract", group=registry.GROUP)
    )
    assert contract_for(["mine"]).name == "example"


def test_broken_entry_point_is_named(entry_points: list[EntryPoint]) -> None:
    entry_points.append(EntryPoint(name="mine", value="no_such_module:thing", group=registry.GROUP))
    with pytest.raises(BrokenContract, match="no_such_module"):
        contracts()
