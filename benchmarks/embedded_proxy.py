"""What the embedded proxy adds: to the time to first token at 50 streams, to each chunk, and in deciding.

python -m benchmarks.embedded_proxy [--rounds 2] [--streams 50]

The same load goes to a chunk server directly and through the proxy, in turn. The chunk server is prefill and
decode in one, and answers at once; so what is added is the proxy, its second request included. First at a
pace that engines have, then with more chunks than the limit. Last, how long it takes to say who of 24
instances gets a prompt of 2000 tokens, at some 500 requests a second, by the policies that look at most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import psutil
import uvloop

_TTFT_LIMIT_MS = 1.5
_CHUNKS_LIMIT = 5000
_ROUND_S = 1.2
_DECISION_LIMIT_MS = 10
_SIDES = {"prefiller": 8, "decoder": 12, "hybrid": 4}
_DECIDING = (
    *("--phase-policy", "adaptive", "--policy", "cache_aware"),
    *("--session-header", "x-session-id", "--scale-prefill", "1", "8"),
)

_READY_S = 30
_POLL_S = 0.02
#: Prompts that share their first half.
_SHARING = 0.8
#: Made before the load begins, since that takes longer than sending them.
_BODIES = 500

_CHUNK = b'data: {"choices": [{"index": 0, "text": "a", "finish_reason": null}]}\n\n'
_PREFILLED = json.dumps(
    {
        "usage": {"prompt_tokens": 16},
        "kv_transfer_params": {"do_remote_prefill": True, "remote_block_ids": [[1]]},
    }
).encode()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--serve", type=int, nargs="+", metavar="PORT", help="be the chunk server")
    options = parser.parse_args()
    if options.serve:
        uvloop.run(_serve(options.serve))
        return
    server_port, proxy_port = _free_port(), _free_port()
    with _started({"prefiller": [server_port], "decoder": [server_port]}, proxy_port) as proxy:
        uvloop.run(_measure(options.rounds, options.streams, server_port, proxy_port, proxy))
    proxy_port = _free_port()
    sides = {side: [_free_port() for _ in range(number)] for side, number in _SIDES.items()}
    with _started(sides, proxy_port, *_DECIDING):
        uvloop.run(_decisions(proxy_port, options.streams))


async def _decisions(proxy: int, streams: int) -> None:
    number = sum(_SIDES.values())
    async with asyncio.timeout(_READY_S):
        while _usable(await _asked(proxy, "/health")) < number:  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(_POLL_S)
    load = await _load(proxy, streams, _SHORT, seconds=2 * _ROUND_S, tokens=2000)
    told = [line.rpartition(" ") for line in (await _asked(proxy, "/metrics")).splitlines()]
    figures = {name.removeprefix("pdtest_proxy_decision_seconds"): value for name, _, value in told}
    count = int(figures["_count"])
    buckets = {
        name[len('_bucket{le="') : -2]: int(value) for name, value in figures.items() if "_bucket{le" in name
    }
    p99 = next(bound for bound, seen in buckets.items() if seen >= 0.99 * count)
    print(
        f"deciding among {number} instances at {len(load.firsts_s) / load.seconds:.0f} requests/s: "
        f"mean {1000 * float(figures['_sum']) / count:.2f} ms, p99 within {1000 * float(p99):g} ms, "
        f"limit {_DECISION_LIMIT_MS} ms ({count} requests)"
    )


def _usable(health: str) -> int:
    return sum(value for value in json.loads(health or "{}").values() if isinstance(value, int))


async def _measure(rounds: int, streams: int, server: int, proxy: int, process: psutil.Process) -> None:
    await asyncio.gather(_healthy(server), _healthy(proxy))
    for port in (server, proxy):  # warm up
        await _load(port, streams, _Pace(chunks=10, pause_s=0.0), seconds=0.3)
    direct, through, _ = await _compared(rounds, streams, _LIKE_ENGINES, (server, proxy), process)
    added_ms = through.first_ms - direct.first_ms
    print(
        f"TTFT p50 at {streams} streams: direct {direct.first_ms:.2f} ms, "
        f"through the proxy {through.first_ms:.2f} ms, added {added_ms:.2f} ms, "
        f"limit {_TTFT_LIMIT_MS} ms, ratio {added_ms / _TTFT_LIMIT_MS:.2f} ({len(through.firsts_s)} requests)"
    )
    direct, through, busy_s = await _compared(rounds, streams, _FAST, (server, proxy), process)
    print(
        f"chunks/s at {streams} streams: direct {direct.rate:.0f}, through the proxy {through.rate:.0f}, "
        f"limit {_CHUNKS_LIMIT}, ratio {through.rate / _CHUNKS_LIMIT:.2f} "
        f"({busy_s / through.seconds:.0%} of a core; memory {_mib(process):.0f} MiB)"
    )


async def _compared(
    rounds: int, streams: int, pace: _Pace, ports: tuple[int, int], process: psutil.Process
) -> tuple[_Load, _Load, float]:
    """The same load to both ports in turn, and how long the proxy was busy with its own."""
    direct, through, busy_s = _Load(), _Load(), 0.0
    for _ in range(rounds):
        direct += await _load(ports[0], streams, pace, seconds=_ROUND_S)
        before = _cpu_s(process)
        through += await _load(ports[1], streams, pace, seconds=_ROUND_S)
        busy_s += _cpu_s(process) - before
    return direct, through, busy_s


@dataclass(frozen=True, kw_only=True)
class _Pace:
    """A stream: so many chunks, and a pause after each."""

    chunks: int
    pause_s: float


#: 50 tokens a second and stream; at 50 streams one begins every 16 ms.
_LIKE_ENGINES = _Pace(chunks=40, pause_s=0.02)
#: More than the limit is offered at 50 streams.
_FAST = _Pace(chunks=240, pause_s=0.003)
#: About 500 requests a second at 50 streams.
_SHORT = _Pace(chunks=5, pause_s=0.018)


@dataclass(kw_only=True)
class _Load:
    """What was seen of a load: times to first chunk, chunks, and how long it took."""

    firsts_s: list[float] = field(default_factory=list)
    chunks: int = 0
    seconds: float = 0.0

    @property
    def first_ms(self) -> float:
        return statistics.median(self.firsts_s) * 1000

    @property
    def rate(self) -> float:
        return self.chunks / self.seconds

    def __add__(self, other: _Load) -> _Load:
        return _Load(
            firsts_s=self.firsts_s + other.firsts_s,
            chunks=self.chunks + other.chunks,
            seconds=self.seconds + other.seconds,
        )


async def _load(port: int, streams: int, pace: _Pace, *, seconds: float, tokens: int = 0) -> _Load:
    """Streams one after the other on so many connections, begun at random within one stream's time.

    ``tokens`` is the length of prompts of which four in five share their first half with others.
    """
    load = _Load()
    bodies = [_body(pace, tokens) for _ in range(_BODIES if tokens else 1)]
    began = time.perf_counter()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(random.random() * pace.chunks * pace.pause_s)  # noqa: S311
        while time.perf_counter() < began + seconds:
            body = random.choice(bodies)  # noqa: S311
            head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            sent_at = time.perf_counter()
            writer.write(head + body)
            seen = await reader.readuntil(b"\r\n\r\n")
            assert seen.startswith(b"HTTP/1.1 200"), seen  # noqa: S101
            rest = await reader.readuntil(b"\n\n")
            load.firsts_s.append(time.perf_counter() - sent_at)
            load.chunks += 1
            while not rest.endswith(b"0\r\n\r\n"):
                rest = rest[-5:] + (more := await reader.read(1 << 16))
                load.chunks += more.count(b"\n\n")
        writer.close()

    await asyncio.gather(*(one() for _ in range(streams)))
    load.seconds = time.perf_counter() - began
    return load


class _ChunkServer(asyncio.Protocol):
    """Prefill and decode in one: as much HTTP as the proxy and the load above speak."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        """Some of a request."""
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        if not end:
            return
        if head.startswith(b"GET"):
            self._seen = b""
            self._answer(b"{}")
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        self._seen = b""
        asked = json.loads(body)
        if asked.get("stream"):
            self._running = asyncio.create_task(self._stream(asked["max_tokens"], asked["pause_s"]))
        else:
            self._answer(_PREFILLED)

    def _answer(self, content: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(
            content
        )
        self._transport.write(head + content)

    async def _stream(self, chunks: int, pause_s: float) -> None:
        write = self._transport.write
        write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(chunks):
            write(b"%x\r\n%s\r\n" % (len(_CHUNK), _CHUNK))
            await asyncio.sleep(pause_s)
        write(b"0\r\n\r\n")


async def _serve(ports: Sequence[int]) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(_ChunkServer, "127.0.0.1", port) for port in ports]
    await asyncio.gather(*(server.serve_forever() for server in servers))


@contextmanager
def _started(sides: Mapping[str, Sequence[int]], proxy_port: int, *more: str) -> Iterator[psutil.Process]:
    """The chunk server, on all ports of all sides, and the proxy."""
    lists: list[str] = []
    for side, ports in sides.items():
        lists += [f"--{side}-hosts", *["127.0.0.1"] * len(ports), f"--{side}-ports", *map(str, ports)]
    every = sorted({str(port) for ports in sides.values() for port in ports})
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.embedded_proxy", "--serve", *every])
    proxy = subprocess.Popen(
        [sys.executable, "-m", "pdtest.embedded.proxy", "--port", str(proxy_port), *lists, *more],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(proxy.pid)
    finally:
        for process in (proxy, server):
            process.kill()
            process.wait()


async def _healthy(port: int) -> None:
    while not await _asked(port, "/health"):  # noqa: ASYNC110 - nobody announces it
        await asyncio.sleep(_POLL_S)


async def _asked(port: int, path: str) -> str:
    """The body of a 200; empty where there is none."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return ""
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    writer.close()
    return body.decode() if b" 200 " in head.partition(b"\r\n")[0] else ""


def _body(pace: _Pace, tokens: int) -> bytes:
    prompt = _prompt(tokens) if tokens else "a" * 64
    asked = {"prompt": prompt, "stream": True, "max_tokens": pace.chunks, "pause_s": pace.pause_s}
    return json.dumps(asked).encode()


def _prompt(tokens: int) -> list[int]:
    """Its first half is one of twenty, or its own."""
    source = random.Random(random.randrange(20)) if random.random() < _SHARING else random.Random()  # noqa: S311
    half = source.choices(range(256), k=tokens // 2)
    return half + random.choices(range(256), k=tokens - len(half))  # noqa: S311


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / (1 << 20)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


if __name__ == "__main__":
    main()
