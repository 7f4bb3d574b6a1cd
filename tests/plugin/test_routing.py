from __future__ import annotations

from pathlib import Path

import pytest

from pdtest.environment.loading import load
from pdtest.kills.mutant import Mutant
from pdtest.kills.routing import ROUTING
from pdtest.plugin.mutants import obstacle

from .conftest import Project, member

ENVIRONMENTS = Path(__file__).parents[2] / "environments"

TESTS = """
async def test_asks_the_router(router, lanes, errands):
    assert router.both == ()
    lane = lanes.serving(router.roles["prefill"])
    traffic = await router.at_once(*errands.of(lane, 3))
    assert len(traffic.routed) + len(traffic.lost) == 3

async def test_adds_and_removes(membership):
    raise AssertionError
"""


def test_without_a_proxy_there_is_nothing_to_ask(project: Project) -> None:
    project.environment()
    project.tests(TESTS)
    result = project.run("-rs")
    assert result.parseoutcomes()["skipped"] == 2
    result.stdout.fnmatch_lines(["*doubles has no member with role: proxy"])


def test_what_a_router_cannot_do_is_skipped(project: Project) -> None:
    members = {role: member(role) for role in ("prefill", "decode", "colocated")}
    # A double that takes requests, as a proxy would; who served them it does not say.
    members["proxy"] = members["decode"] | {"role": "proxy"}
    project.environment(members=members)
    project.tests(TESTS)
    result = project.run("-rs")
    assert result.parseoutcomes() == {"passed": 1, "skipped": 1}
    result.stdout.fnmatch_lines(["*doubles: no instance can be added to its router, or removed"])


@pytest.mark.parametrize("mutant", ROUTING, ids=lambda mutant: mutant.name)
def test_bugs_of_routers_are_planted_where_there_is_a_switch(mutant: Mutant) -> None:
    assert obstacle(mutant, load(ENVIRONMENTS / "embedded-routing.yaml")) is None
    why = obstacle(mutant, load(ENVIRONMENTS / "embedded-2p2d.yaml"))
    assert why == "no proxy has fault-routing @.../routing.switch"


def test_the_usual_ones_of_the_environment_are_all_of_them() -> None:
    usual = load(ENVIRONMENTS / "embedded-routing.yaml").mutants.only
    assert set(usual) == {mutant.name for mutant in ROUTING}
