from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.load.calibrated import Served, serving


@pytest.fixture(scope="session")
def calibration() -> Iterator[Served]:
    """The URL of a calibration server with some arguments; one for all tests that ask for the same."""
    known: dict[tuple[str, ...], str] = {}
    with ExitStack() as stack:

        def served(*arguments: str) -> str:
            if arguments not in known:
                known[arguments] = stack.enter_context(serving(*arguments))
            return known[arguments]

        yield served
