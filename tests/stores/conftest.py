from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from pdtest.services.pool import Agent, Count, Gauges, PoolAccess, Promises
from pdtest.stores.client import StoreClient

BACKEND = Path(__file__).with_name("backend.py")
PROMISES = Promises(
    high=0.9,
    low=0.8,
    evicts_within_s=0.0,
    refusal_evicts=False,
    lease_s=0.1,
    lease_holds_removal=False,
    empty_values=True,
    layer_by_layer=True,
    spectators=True,
    put_timeout_s=0.1,
    client_timeout_s=0.1,
    transfer_timeout_s=0.1,
    remembers=False,
    recovery_s=0.1,
)

Start = Callable[..., Awaitable[StoreClient]]


def access(url: str, **settings: bool) -> PoolAccess:
    return PoolAccess(
        command=Agent(
            python=sys.executable, backend=BACKEND, settings=settings, env={"FOR": "agents"}
        ).command(),
        segment_bytes=1000,
        promises=PROMISES,
        gauges=Gauges(
            url=url,
            objects="objects",
            allocated="allocated",
            capacity="capacity",
            counts={"put": Count(of=("puts", "batched"), less=("failed",))},
        ),
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "client"


@pytest_asyncio.fixture(loop_scope="function")
async def start(directory: Path) -> AsyncIterator[Start]:
    """Starts clients, and ends them."""
    clients: list[StoreClient] = []

    async def start(*, segment_bytes: int = 1000, timeout_s: float = 20.0, **settings: bool) -> StoreClient:
        client = await StoreClient.start(
            access("http://127.0.0.1:9", **settings),
            directory,
            name="one",
            segment_bytes=segment_bytes,
            env={},
            timeout_s=timeout_s,
        )
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.kill()
