"""A client that merely reads bytes: the least that any client on this loop must spend.

python -m benchmarks.load_bare URL STREAMS TOKENS RATE, the rate in requests per second. Prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import uvloop

_END = b"0\r\n\r\n"


@dataclass
class Stream(asyncio.Protocol):
    """Counts bytes and notes when the first of a body came."""

    name: str
    body: bytes
    done: asyncio.Future[None]
    sent: float = 0.0
    first: float = 0.0
    size: int = 0
    reads: int = 0
    transport: asyncio.Transport = field(init=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = cast("asyncio.Transport", transport)

    def send(self) -> None:
        """Now."""
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Request-Id: {self.name}\r\n"
        self.sent = time.monotonic()
        self.transport.write(f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode() + self.body)

    def data_received(self, data: bytes) -> None:
        """Looked at no further than its end."""
        self.reads += 1
        # The headers come in a read of their own.
        if self.reads == 2:  # noqa: PLR2004
            self.first = time.monotonic()
        self.size += len(data)
        if data.endswith(_END):
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Before the end that is an error."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError())


async def read(url: str, streams: int, tokens: int, rate: float) -> dict[str, object]:
    """What it cost, and when requests were sent and first bytes came."""
    loop, address = asyncio.get_running_loop(), urlsplit(url)
    host, port = address.hostname or "", address.port or 80
    body = json.dumps({"prompt": [1] * 16, "max_tokens": tokens, "stream": True}).encode()
    opened = []
    for number in range(streams):
        stream = Stream(f"bare-{number}", body, loop.create_future())
        await loop.create_connection(lambda made=stream: made, host, port)  # type: ignore[misc]
        opened.append(stream)
    began, cpu_s = time.monotonic() + 0.1, time.process_time()
    due = [began + number / rate for number in range(streams)]
    for stream, at in zip(opened, due, strict=True):
        loop.call_later(at - time.monotonic(), stream.send)
    await asyncio.gather(*(stream.done for stream in opened))
    return {
        "cpu_s": time.process_time() - cpu_s,
        "lasted_s": time.monotonic() - began,
        "first": {stream.name: stream.first for stream in opened},
        "late_s": [stream.sent - at for stream, at in zip(opened, due, strict=True)],
    }


if __name__ == "__main__":
    _url, _streams, _tokens, _rate = sys.argv[1:]
    print(json.dumps(uvloop.run(read(_url, int(_streams), int(_tokens), float(_rate)))))
