"""Marks that pdtest gives a meaning to."""

from __future__ import annotations

import re
from fnmatch import translate

import pytest

from pdtest.cluster.plan import attached_to
from pdtest.environment.schema import Environment, Role
from pdtest.launch.registry import launchers

DISRUPTIVE = "disruptive"
ASKS = "asks"
#: How the reason begins of tests that are skipped for the sake of attached members.
SPARED = "disruptive, would not spare what is attached to in"

_OWN = (
    f"{DISRUPTIVE}: members may die or log errors in this test; dead ones are started again for the next",
    f"{ASKS}(requests=f): what the test will ask, f(prompts, bounds) -> list; the fixture `asked` gives it",
    "nightly: too long for every push",
    "recovery: breaks something, and sees to it that the service comes back",
)


def register(config: pytest.Config, environment_marks: frozenset[str]) -> None:
    """Make the marks known to --strict-markers: pdtest's own and those of the environment files."""
    for line in _OWN:
        config.addinivalue_line("markers", line)
    for mark in sorted(environment_marks - {line.partition(":")[0] for line in _OWN}):
        config.addinivalue_line("markers", f"{mark}: runs on an environment that has this mark")


def spare_attached(item: pytest.Item, environment: Environment) -> None:
    """Skip a disruptive test that may hurt members which somebody else runs, and perhaps needs.

    A colocated reference is out of harm's way: nothing is handed over to it.
    """
    if item.get_closest_marker(DISRUPTIVE) is None or item.config.getoption("allow_disruption"):
        return
    attached = attached_to(environment, launchers())
    hurt = [name for name in attached if environment.members[name].role is not Role.COLOCATED]
    if hurt:
        item.add_marker(pytest.mark.skip(reason=f"{SPARED} {environment.name}: {', '.join(hurt)}"))


def expect_known_issues(item: pytest.Item, environment: Environment) -> None:
    """Mark a test that a known issue of its environment names. Strict: once mended, the entry must go."""
    for issue in environment.known_issues:
        # Brackets are part of test ids, not a character class.
        pattern = translate(issue.tests.replace("[", "[[]"))
        if re.match(pattern, item.nodeid):
            item.add_marker(pytest.mark.xfail(reason=issue.why, strict=True, run=issue.run))
