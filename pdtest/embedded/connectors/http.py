"""HTTP calls of connectors: to Mooncake's bootstrap server and to Ascend's metaserver.

Over asyncio's streams and the parser that the engine's server has anyway: an HTTP client library costs
10 MiB of memory in every engine, for one call per request at most.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httptools

_FIRST_ERROR = 400
_READ_BYTES = 1 << 16
_SHOWN = 200


class HttpFailed(Exception):
    """A call was not answered, or with an error."""


@dataclass
class _Answer:
    """What the parser calls."""

    body: list[bytes] = field(default_factory=list)
    is_complete: bool = False

    def on_body(self, part: bytes) -> None:
        self.body.append(part)

    def on_message_complete(self) -> None:
        self.is_complete = True


class HttpCalls:
    """JSON over HTTP/1.1, a connection per call.

    Tries again when nobody takes the call, but not when the answer is late or an error.
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
            except (ValueError, httptools.HttpParserError) as error:
                raise HttpFailed(f"{what}: {error}") from error
            except OSError as error:
                if attempt == self._attempts:
                    raise HttpFailed(f"{what}: {error} ({attempt} attempts)") from error
                await asyncio.sleep(self._pause_s)
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
    """Status and body. Raises OSError, HttpParserError."""
    reader, writer = await asyncio.open_connection(url.hostname, url.port or 80)
    try:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.is_complete:
            part = await reader.read(_READ_BYTES)
            if not part:
                raise ConnectionResetError("the server closed the connection before it had answered")
            parser.feed_data(part)
    finally:
        writer.close()
    return parser.get_status_code(), b"".join(answer.body)
