"""The repository's own use of pdtest: shapes as a test parameter, and what references they need.

Everything else comes from the installed plugin; nothing here is needed in somebody else's repository.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from pdtest.client.shapes import SHAPES

if TYPE_CHECKING:
    from pdtest import Environment, Request


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests with an argument `shape` run once for each request shape."""
    if "shape" in metafunc.fixturenames:
        metafunc.parametrize("shape", SHAPES, ids=str)


def pdtest_reference_requests(
    item: pytest.Item, environment: Environment, seed: str
) -> Iterable[Request] | None:
    """Tests say what they will ask the reference with a function beside them, `reference_requests`."""
    asks = getattr(getattr(item, "obj", None), "reference_requests", None)
    return asks(item, environment, seed) if asks is not None else None
