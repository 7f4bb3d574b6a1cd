"""The client for servers behind TLS, on aiohttp. Slower: it takes the time when a task gets to run."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import aiohttp

from pdtest.load.answer import Answer


class TlsClient:
    """Talks to one server. See `pdtest.load.client.LoadClient`.

    Certificates are verified against the system's authorities; ``SSL_CERT_FILE`` names others.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Opens a pool that is as large as it needs to be."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes all connections."""
        await self._session.close()

    async def line(self) -> TlsClient:
        """The pool itself, which finds a connection when it is time."""
        return self

    async def post(self, path: str, headers: bytes, body: bytes, answer: Answer) -> None:
        """Send, and wait for the whole answer. See `pdtest.load.client.Line`."""
        answer.sent_at = time.monotonic()
        try:
            async with self._session.post(self._url + path, data=body, headers=_mapping(headers)) as response:
                answer.status = response.status
                read = 0
                while part := await response.content.readany():
                    read += 1
                    answer.parts.append((time.monotonic(), read, part))
        except (aiohttp.ClientError, OSError) as error:
            answer.error = str(error) or type(error).__name__
        answer.ended_at = answer.parts[-1][0] if answer.parts and not answer.error else time.monotonic()


def _mapping(headers: bytes) -> dict[str, str]:
    lines = headers.decode("latin-1").splitlines()
    return dict(line.split(": ", 1) for line in lines)
