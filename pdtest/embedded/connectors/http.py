"""HTTP calls of connectors: to Mooncake's bootstrap server and to Ascend's metaserver."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pdtest.embedded.connections import Broken, Connections

_FIRST_ERROR = 400
_SHOWN = 200


class HttpFailed(Exception):
    """A call was not answered, or with an error."""


class HttpCalls:
    """JSON over HTTP/1.1, a connection per call.

    Tries again when the connection fails, but not when the answer is late or an error.
    """

    def __init__(self, *, timeout_s: float, attempts: int = 3, pause_s: float = 0.1) -> None:
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._pause_s = pause_s

    async def get(self, url: str) -> Any:
        """The JSON at ``url``. Raises HttpFailed."""
        return await self._call("GET", url, b"")

    async def post(self, url: str, body: Any) -> Any:
        """What the server says to ``body``, both JSON. Raises HttpFailed."""
        return await self._call("POST", url, json.dumps(body).encode())

    async def _call(self, method: str, url: str, body: bytes) -> Any:
        what = f"{method} {url}"
        for attempt in range(1, self._attempts + 1):
            try:
                async with asyncio.timeout(self._timeout_s):
                    status, said = await _exchange(method, _split(url), body)
                break
            except TimeoutError as error:
                raise HttpFailed(f"{what}: no answer within {self._timeout_s:g} s") from error
            except Broken as error:
                if attempt == self._attempts:
                    raise HttpFailed(f"{what}: {error} ({attempt} attempts)") from error
                await asyncio.sleep(self._pause_s)
            except ValueError as error:
                raise HttpFailed(f"{what}: {error}") from error
        if status >= _FIRST_ERROR:
            raise HttpFailed(f"{what} answered {status}: {said.decode(errors='replace')[:_SHOWN]}")
        try:
            return json.loads(said)
        except ValueError as error:
            raise HttpFailed(f"{what} answered {said[:_SHOWN]!r}, which is not JSON") from error


def _split(url: str) -> SplitResult:
    """Raises ValueError for what is no address over HTTP."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or " " in url:
        raise ValueError("expected http://host:port/path")
    return parts


async def _exchange(method: str, url: SplitResult, body: bytes) -> tuple[int, bytes]:
    """Status and body. Raises Broken."""
    connections = Connections()
    address = url.netloc if url.port else f"{url.netloc}:80"
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        response = await connections.send(method, address, path, {"Content-Type": "application/json"}, body)
        return response.status, await response.read_all()
    finally:
        connections.close()
