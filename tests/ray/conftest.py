"""Ray is an extra of its own: `tox run -e ray` has it. Without it nothing is found, which fails by path."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from pdtest.launch.kin import OWNER_VARIABLE, Kin
from tests.ray.nodes import nodes

__all__ = ["nodes"]

collect_ignore_glob = ["test_*.py"] if find_spec("ray") is None else []


@pytest.fixture
def owner() -> Iterator[str]:
    """A run's token. Whatever a test leaves behind under it is ended."""
    token = f"test-{uuid.uuid4().hex}"
    yield token
    for pid in there(token):
        os.kill(pid, signal.SIGKILL)


def there(owner: str, *members: str) -> list[int]:
    """Processes on the nodes that belong to the run's members."""
    tags = [{OWNER_VARIABLE: f"{owner}-ray-{member}"} for member in members or ("a", "b")]
    return [process.pid for tag in tags for process in Kin(tag).scan()]
