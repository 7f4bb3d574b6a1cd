"""What the embedded proxy adds: to the time to first token at 50 streams, and to each chunk.

python -m benchmarks.embedded_proxy [--rounds 2] [--streams 50]

The same load goes to a chunk server directly and through the proxy, in turn. The chunk server is prefill and
decode in one, and answers at once; so what is added is the proxy, its second request included. First at a
pace that engines have, then with more chunks than the limit.
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import psutil
import uvloop

_TTFT_LIMIT_MS = 1.5
_CHUNKS_LIMIT = 5000
_ROUND_S = 1.2

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
    parser.add_argument("--serve", type=int, metavar="PORT", help="be the chunk server")
    options = parser.parse_args()
    if options.serve:
        uvloop.run(_serve(options.serve))
        return
    server_port, proxy_port = _free_port(), _free_port()
    with _started(server_port, proxy_port) as proxy:
        uvloop.run(_measure(options.rounds, options.streams, server_port, proxy_port, proxy))


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


async def _load(port: int, streams: int, pace: _Pace, *, seconds: float) -> _Load:
    """Streams one after the other on so many connections, begun at random within one stream's time."""
    load = _Load()
    began = time.perf_counter()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(random.random() * pace.chunks * pace.pause_s)  # noqa: S311
        asked = {"prompt": "a" * 64, "stream": True, "max_tokens": pace.chunks, "pause_s": pace.pause_s}
        body = json.dumps(asked).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        while time.perf_counter() < began + seconds:
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


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_ChunkServer, "127.0.0.1", port)
    await server.serve_forever()


@contextmanager
def _started(server_port: int, proxy_port: int) -> Iterator[psutil.Process]:
    """The chunk server and the proxy."""
    lists = []
    for side in ("prefiller", "decoder"):
        lists += [f"--{side}-hosts", "127.0.0.1", f"--{side}-ports", str(server_port)]
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.embedded_proxy", "--serve", str(server_port)]
    )
    proxy = subprocess.Popen(
        [sys.executable, "-m", "pdtest.embedded.proxy", "--port", str(proxy_port), *lists],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(proxy.pid)
    finally:
        for process in (proxy, server):
            process.kill()
            process.wait()


async def _healthy(port: int) -> None:
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        status = await reader.readline()
        writer.close()
        if b" 200 " in status:
            return
        await asyncio.sleep(0.02)


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
