"""A prefill and a decode engine in this process, with real connectors between them."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pdtest.embedded.engine.core import Core
from pdtest.embedded.engine.cores import Cores
from pdtest.embedded.engine.sequence import Finish, Sampling
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.engine.settings import Settings
from pdtest.embedded.model.config import ModelConfig
from pdtest.xray import Archive, Diagnosis, diagnose

CONFIG = ModelConfig(
    layers=4,
    hidden=32,
    heads=4,
    kv_heads=4,
    head_dim=8,
    intermediate=48,
    vocab_size=259,
    eos_id=0,
    max_positions=512,
)
_names = itertools.count()


@dataclass(kw_only=True)
class Pair:
    """Prefill and decode, and their X-ray. ``fault``: a file that says how transfers go wrong."""

    prefill: Core
    decode: Core
    archive: Archive
    fault: Path

    async def hand_over(self, prompt: Sequence[int], request: str = "") -> str:
        """One request from prefill to decode; its name."""
        name = request or f"r{next(_names)}"
        first = await self._run(self.prefill, name, prompt, {"do_remote_decode": True, "transfer_id": name})
        params = dict(first.handover or {})
        second = await self._run(self.decode, name, prompt, params)
        assert second.finish is Finish.LENGTH
        return name

    async def diagnosis(self, prompt: Sequence[int], fault: str = "") -> Diagnosis:
        """What is to be seen of a request whose transfer goes wrong in that way."""
        self.fault.write_text(fault)
        (seen,) = diagnose(self.archive, await self.hand_over(prompt))
        return seen

    async def _run(
        self, core: Core, name: str, prompt: Sequence[int], params: dict[str, Any]
    ) -> EngineSequence:
        sequence = EngineSequence(
            id=f"cmpl-{name}-0",
            request_id=name,
            prompt=tuple(prompt),
            sampling=Sampling(max_tokens=1),
            kv_transfer_params=params,
        )
        core.submit(sequence)
        async with asyncio.timeout(20):
            while (await sequence.steps.get()).finish is None:
                pass
        return sequence


MakePair = Callable[..., Any]


def _free_ports(count: int) -> int:
    """The first of so many adjacent ports that nobody listens on."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
        with suppress(OSError, OverflowError), ExitStack() as stack:
            for number in range(port, port + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[MakePair]:
    """Starts a pair; ``prefill`` and ``decode`` are settings of one's own."""
    fault = tmp_path / "fault"
    async with AsyncExitStack() as stack:

        async def engine(role: str, connector: str, **changes: Any) -> Core:
            settings = Settings(
                model=Path("model"),
                served_name="small",
                block_size=16,
                max_model_len=512,
                blocks=64,
                kv_transfer_config={"kv_connector": connector, "kv_role": role},
                side_port=_free_ports(4),
                xray=tmp_path / "xray" / {"kv_producer": "prefill", "kv_consumer": "decode"}[role],
                fault_transfer=f"@{fault}",
            )
            cores = Cores(replace(settings, **changes), CONFIG)
            await cores.start()
            stack.push_async_callback(cores.close)
            return cores.choose(0)

        async def start(
            connector: str = "NixlConnector", *, prefill: dict[str, Any] | None = None, **decode: Any
        ) -> Pair:
            return Pair(
                prefill=await engine("kv_producer", connector, **(prefill or {})),
                decode=await engine("kv_consumer", connector, **decode),
                archive=Archive(tmp_path / "xray"),
                fault=fault,
            )

        yield start
