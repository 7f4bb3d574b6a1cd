"""Marks that pdtest gives a meaning to."""

from __future__ import annotations

import pytest

DISRUPTIVE = "disruptive"

_OWN = (
    f"{DISRUPTIVE}: members may die or log errors in this test; dead ones are started again for the next",
    "nightly: too long for every push",
)


def register(config: pytest.Config, environment_marks: frozenset[str]) -> None:
    """Make the marks known to --strict-markers: pdtest's own and those of the environment files."""
    for line in _OWN:
        config.addinivalue_line("markers", line)
    for mark in sorted(environment_marks - {line.partition(":")[0] for line in _OWN}):
        config.addinivalue_line("markers", f"{mark}: runs on an environment that has this mark")
