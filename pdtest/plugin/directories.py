"""Where a run keeps its things, and what it is called."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from pathlib import Path

import pytest


def home(config: pytest.Config) -> Path:
    """Where runs, references and models are kept."""
    given = config.getoption("pdtest_dir")
    return Path(given).resolve() if given else config.rootpath / ".pdtest"


def new_id() -> str:
    """Of a run: when it began, and something that no other has."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def directory_of(config: pytest.Config, run: str) -> Path:
    """Where everything of a run is kept."""
    return home(config) / "runs" / run


def point_latest(directory: Path) -> None:
    """`runs/latest`, for people. Two runs at once may both want it; the later one has it."""
    link = directory.parent / "latest"
    temporary = directory.parent / f".latest-{directory.name}"
    with suppress(OSError):
        temporary.symlink_to(directory.name)
        temporary.replace(link)
