"""The engine as a process of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port

_CONFIG: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "eos_token_id": 0,
    "max_position_embeddings": 4096,
    "seed": 0,
}
_PATIENCE_S = 60


def model(directory: Path) -> Path:
    """The default geometry, in ``directory``."""
    (directory / "config.json").write_text(json.dumps(_CONFIG), encoding="utf-8")
    return directory


@contextmanager
def engine(directory: Path, *flags: str) -> Iterator[str]:
    """An engine with a model in ``directory``; its address, once it serves."""
    port = free_port()
    command = [sys.executable, "-m", "pdtest.embedded.engine", "--model", str(model(directory))]
    log = directory / "engine.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port), *flags],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "VLLM_API_KEY": ""},
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, log)
        yield url
    finally:
        process.terminate()
        assert process.wait(_PATIENCE_S) == 0, log.read_text(encoding="utf-8")


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            if httpx.get(f"{url}/health", timeout=_PATIENCE_S).is_success:
                return
        except httpx.ConnectError:
            time.sleep(0.02)
    raise TimeoutError(log.read_text(encoding="utf-8"))
