"""The repository's own use of pdtest: request shapes as a test parameter.

Everything else comes from the installed plugin; nothing here is needed in somebody else's repository.
"""

from __future__ import annotations

import pytest

from pdtest import Prompts, Request
from pdtest.client.shapes import SHAPES, Bounds, Shape

#: For the tests of the plugin. pytest wants to be told here.
pytest_plugins = ["pytester"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests with an argument `shape` run once for each request shape, which they declare to ask."""
    if "shape" in metafunc.fixturenames:
        metafunc.parametrize("shape", [_parameter(shape) for shape in SHAPES])


def _parameter(shape: Shape) -> object:
    def build(prompts: Prompts, bounds: Bounds) -> list[Request]:
        return [shape.make(prompts, bounds)]

    return pytest.param(shape, id=shape.name, marks=pytest.mark.asks(requests=build))
