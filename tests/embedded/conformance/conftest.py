"""The answers of both servers: of the engine by asking it, of vLLM from a recording or by asking it too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from filelock import FileLock

from tests.embedded.program import engine

from .cases import MAX_MODEL_LEN, MODEL
from .exchange import Exchange
from .record import RECORDINGS, read, record, write

#: Where a vLLM server is to be asked instead of reading what one answered before.
LIVE = "PDTEST_CONFORMANCE_VLLM"
_FLAGS = (
    "--served-model-name",
    MODEL,
    "--max-model-len",
    str(MAX_MODEL_LEN),
    "--enable-prompt-tokens-details",
)


@pytest.fixture(scope="session")
def theirs() -> Mapping[str, Exchange]:
    """vLLM's answers."""
    if url := os.environ.get(LIVE):
        return record(url)
    return read(max(RECORDINGS.glob("vllm-*.json")))


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Mapping[str, Exchange]:
    """The embedded engine's answers. It is asked once, however many workers there are."""
    if worker_id == "master":
        return _ask(tmp_path_factory.mktemp("engine"))
    shared = tmp_path_factory.getbasetemp().parent / "embedded-conformance.json"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            write(_ask(tmp_path_factory.mktemp("engine")), shared)
    return read(shared)


def _ask(directory: Path) -> dict[str, Exchange]:
    with engine(directory, *_FLAGS) as url:
        return record(url)
