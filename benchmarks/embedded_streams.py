"""Completions streamed at once, by a client so plain that it does not slow down what it measures."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field

_EVENT = b"data: {"
_END = b"data: [DONE]"


@dataclass(frozen=True, kw_only=True)
class Load:
    """So many streams at once, of so many tokens each."""

    streams: int
    prompt: int
    tokens: int


@dataclass
class _Stream(asyncio.Protocol):
    """Notes when bytes came, and looks into them afterwards."""

    body: bytes
    done: asyncio.Future[None]
    content: bytearray = field(default_factory=bytearray)
    arrivals: list[tuple[float, int]] = field(default_factory=list)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        head = f"POST /v1/completions HTTP/1.1\r\nHost: engine\r\nContent-Length: {len(self.body)}\r\n"
        transport.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + self.body)

    def data_received(self, data: bytes) -> None:
        self.content += data
        self.arrivals.append((time.perf_counter(), len(self.content)))
        if self.content.endswith(b"0\r\n\r\n") and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError(bytes(self.content[-300:]).decode()))

    def token_times(self) -> list[float]:
        """When each token came. The last event is the usage."""
        times: list[float] = []
        seen = 0
        for at, end in self.arrivals:
            there = self.content.count(_EVENT, 0, end)
            times += [at] * (there - seen)
            seen = there
        return times[:-1]


async def streams(port: int, load: Load) -> list[list[float]]:
    """For each stream when its tokens came. Ends the process unless all tokens did."""
    dice = random.Random(load.prompt)  # noqa: S311 - not for secrets
    prompts = [[dice.randrange(3, 259) for _ in range(load.prompt)] for _ in range(load.streams)]
    opened = await asyncio.gather(*(_open(port, prompt, load.tokens) for prompt in prompts))
    await asyncio.gather(*(stream.done for stream in opened))
    return [_complete(stream, load.tokens) for stream in opened]


async def _open(port: int, prompt: list[int], tokens: int) -> _Stream:
    body = {
        "prompt": prompt,
        "max_tokens": tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    loop = asyncio.get_running_loop()
    stream = _Stream(json.dumps(body).encode(), loop.create_future())
    await loop.create_connection(lambda: stream, "127.0.0.1", port)
    return stream


def _complete(stream: _Stream, tokens: int) -> list[float]:
    times = stream.token_times()
    usage = f'"completion_tokens":{tokens}'.encode()
    if len(times) != tokens or usage not in stream.content or _END not in stream.content:
        sys.exit(f"expected {tokens} tokens, got {len(times)}: {bytes(stream.content[-600:]).decode()}")
    return times


def decode_rate(arrivals: list[list[float]]) -> float:
    """Tokens per second while all streams were decoding."""
    begin, end = max(times[0] for times in arrivals), min(times[-1] for times in arrivals)
    return sum(begin < at <= end for times in arrivals for at in times) / (end - begin)
