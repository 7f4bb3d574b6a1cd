"""A store and clients of it, in one process or in several."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from pdtest.embedded.store.client import StoreClient
from pdtest.embedded.store.meta import MetaService
from pdtest.embedded.store.settings import StoreSettings

from .stores import PATIENCE_S, Connect, Process, StartMeta, running

#: Timeouts that no test waits for.
_SETTINGS = {"port": 0, "http_port": 0, "segment_mib": 0.01, "put_timeout": 600, "client_timeout": 600}


@pytest.fixture
async def meta() -> AsyncIterator[StartMeta]:
    """Start a meta service in this process with some settings."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> MetaService:
            service = MetaService(StoreSettings(**{**_SETTINGS, **settings}))
            await service.start()
            stack.push_async_callback(service.close)
            return service

        yield start


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connect a client to a port."""
    async with AsyncExitStack() as stack:

        async def start(port: int, **arguments: Any) -> StoreClient:
            client = StoreClient(f"127.0.0.1:{port}", **arguments)
            stack.push_async_callback(client.close)
            await client.start(patience_s=PATIENCE_S)
            return client

        yield start


@pytest.fixture
def process() -> Iterator[Process]:
    """A meta process that never gives up a client that is connected."""
    with running("--client-timeout", "600", "--put-timeout", "600", "--segment-mib", "1") as one:
        yield one


@pytest.fixture
def impatient() -> Iterator[Process]:
    """A meta process that gives up silent clients after a second."""
    with running("--client-timeout", "1", "--put-timeout", "600", "--segment-mib", "1") as one:
        yield one
