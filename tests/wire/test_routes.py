"""Who can lead a handoff of each contract, where that is proven without a chip, and what docs say."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import pytest

from pdtest.client.handoff import Route
from pdtest.environment.loading import load
from pdtest.environment.schema import Environment
from pdtest.plugin.selection import AXES
from pdtest.wire.registry import contract_for, contracts

from .page import page

PAGE = Path(__file__).parents[2] / "docs" / "contracts.md"
EMBEDDED = PAGE.with_name("embedded.md")
ENVIRONMENTS = Path(__file__).parents[2] / "environments"
_COLUMNS = 4
BOTH = (Route.CLIENT, Route.PROXY)
#: By contract: who can lead, what stands in a client's way, an embedded environment that runs it.
TABLE = {
    "nixl": (BOTH, None, "embedded"),
    "nixl-push": (BOTH, None, "embedded-nixl-push"),
    "mooncake": (BOTH, None, "embedded-mooncake"),
    "p2p-nccl": (BOTH, None, "embedded-p2p"),
    "ascend-mooncake": (BOTH, None, "embedded-ascend"),
    "ascend-store": (BOTH, None, "embedded-store"),
    "lmcache": (BOTH, None, "embedded-lmcache"),
    "ascend-layerwise": ((Route.PROXY,), "reports its blocks to a metaserver", "embedded-layerwise"),
}
#: Contracts that the embedded engine does not speak, and why.
ELSEWHERE = {
    "example": "the real one runs without a chip, in vllm-cpu-multi",
    "lmcache-pd": "its transfers and its notices to the proxy are LMCache's own, over NIXL and ZMQ",
}
COMPOSED = ("ascend-mooncake", "ascend-store")


@cache
def shipped() -> tuple[Environment, ...]:
    """The environments that come with pdtest and speak anything."""
    files = (file for file in sorted(ENVIRONMENTS.glob("*.yaml")) if not file.name.startswith("_"))
    loaded = (load(file, variables={}) for file in files)
    return tuple(environment for environment in loaded if not environment.only_stores)


def test_every_contract_is_in_the_table() -> None:
    assert set(TABLE) | set(ELSEWHERE) == set(contracts())
    assert not set(TABLE) & set(ELSEWHERE)


@pytest.mark.parametrize("name", TABLE)
def test_an_embedded_environment_takes_each_route_that_there_is(name: str) -> None:
    routes, obstacle, where = TABLE[name]
    (environment,) = (one for one in shipped() if one.name == where)
    assert environment.connector.contract == (name,)
    assert "embedded" in environment.marks
    assert tuple(AXES["route"](environment)) == routes
    said = contract_for([name]).obstacle
    assert said is None if obstacle is None else obstacle in str(said)


def test_a_composition_goes_by_the_routes_of_all_its_children() -> None:
    for environment in shipped():
        if environment.connector.contract == COMPOSED:
            assert tuple(AXES["route"](environment)) == BOTH
    assert contract_for(["ascend-mooncake", "ascend-layerwise"]).obstacle is not None


def twins() -> dict[str, str]:
    """By environments that need a chip: the embedded one that docs/embedded.md calls their twin."""
    rows = [line.split("|") for line in EMBEDDED.read_text(encoding="utf-8").splitlines() if "|" in line]
    named = [[re.findall("`(.*?)`", cell) for cell in row] for row in rows if len(row) == _COLUMNS + 2]
    return {twin: cells[1][0] for cells in named for twin in cells[4] if cells[1]}


def test_whoever_has_a_chip_environment_finds_its_twin() -> None:
    """What needs a GPU or an NPU is also spoken by an embedded environment, in the same composition."""
    by_name = {one.name: one.connector.contract for one in shipped()}
    for environment in shipped():
        spoken = environment.connector.contract
        if {"gpu", "ascend"} & set(environment.marks) and not set(spoken) & set(ELSEWHERE):
            assert environment.name in twins(), f"docs/embedded.md names no twin of {environment.name}"
            assert by_name[twins()[environment.name]] == spoken


def test_the_page_says_what_the_contracts_say() -> None:
    proven = {name: f"Try it: `pytest --env {where}`." for name, (_, _, where) in TABLE.items()}
    proven |= {name: f"Not spoken by the embedded stack: {why}." for name, why in ELSEWHERE.items()}
    expected = page(contracts(), proven)
    if os.environ.get("PDTEST_WRITE_DOCS"):
        PAGE.write_text(expected, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == expected, "write it with PDTEST_WRITE_DOCS=1, and read it"
