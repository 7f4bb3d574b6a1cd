"""How much a relay between members carries through one connection, with a process on either side.

python -m benchmarks.link_relay
"""

from __future__ import annotations

import multiprocessing
import socket
import time

from anyio.from_thread import start_blocking_portal

from pdtest.links import Relay

_BYTES = 1 << 30
_PIECE = 1 << 20
#: KV of the tiny models is moved at less; a relay below this would be what a test measures.
_LIMIT_MB_S = 200


def _sink(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    room, missing = bytearray(_PIECE), _BYTES
    while missing:
        missing -= connection.recv_into(room)
    connection.sendall(b"done")


def _source(port: int, took: multiprocessing.Queue[float]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        began = time.perf_counter()
        for _ in range(_BYTES // _PIECE):
            connection.sendall(bytes(_PIECE))
        connection.recv(4)
        took.put(time.perf_counter() - began)


def main() -> None:
    """Print megabytes per second. Exits with 1 below the limit."""
    took: multiprocessing.Queue[float] = multiprocessing.Queue()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        sink = multiprocessing.Process(target=_sink, args=(listening,))
        sink.start()
        with start_blocking_portal() as portal:
            relay = Relay("127.0.0.1", port, listening.getsockname()[:2])
            portal.call(relay.start)
            source = multiprocessing.Process(target=_source, args=(port, took))
            source.start()
            speed = _BYTES / took.get(timeout=120) / 1e6
            source.join()
            portal.call(relay.close)
        sink.join()
    print(f"relay: {speed:.0f} MB/s through one connection (limit {_LIMIT_MB_S})")
    raise SystemExit(speed < _LIMIT_MB_S)


if __name__ == "__main__":
    main()
