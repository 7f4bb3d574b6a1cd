"""Hooks that conftest files and other plugins may implement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pdtest.client.request import Request
    from pdtest.environment.schema import Environment


@pytest.hookspec
def pdtest_reference_requests(
    item: pytest.Item, environment: Environment, seed: str
) -> Iterable[Request] | None:
    """The requests whose colocated answers ``item`` will need in ``environment``.

    Asked only for environments with ``reference: {kind: recorded}``: there the colocated instance
    runs first, on the devices that prefill and decode need later, and answers exactly these.
    ``seed`` is what the `prompts` fixture of that test will be seeded with.
    """
