from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pdtest.embedded.connectors.connector import Connector

Started = Callable[[Connector], Awaitable[None]]


@pytest.fixture
async def started() -> AsyncIterator[Started]:
    """Starts connectors and closes them when the test is over."""
    running: list[Connector] = []

    async def start(connector: Connector) -> None:
        await connector.start()
        running.append(connector)

    yield start
    for connector in reversed(running):
        await connector.close()
