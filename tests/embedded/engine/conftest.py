from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdtest.embedded.engine.core import Core
from pdtest.embedded.engine.cores import Cores
from pdtest.embedded.engine.settings import Settings
from pdtest.embedded.model.config import ModelConfig

#: Small, so that tests are quick; two KV heads for tensor parallelism.
CONFIG = ModelConfig(
    layers=2,
    hidden=32,
    heads=4,
    kv_heads=2,
    head_dim=8,
    intermediate=48,
    vocab_size=259,
    eos_id=0,
    max_positions=512,
)
SETTINGS = Settings(
    model=Path("model"),
    served_name="small",
    block_size=4,
    max_model_len=512,
    blocks=64,
    max_num_batched_tokens=32,
)

Start = Callable[..., Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts an engine of one rank with settings of one's own; all are closed when the test is over."""
    running: list[Cores] = []

    async def started(*, prepare: Callable[[Core], None] | None = None, **changes: Any) -> Core:
        cores = Cores(replace(SETTINGS, **changes), CONFIG)
        core = cores.choose(0)
        if prepare is not None:
            prepare(core)
        await cores.start()
        running.append(cores)
        return core

    yield started
    for cores in running:
        await cores.close()
