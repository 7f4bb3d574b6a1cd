"""Engines that say themselves where they are: P2P NCCL's registration.

Each sends ``{"type": "P" or "D", "http_address", "zmq_address"}`` in msgpack to a ZMQ ROUTER, again and
again; who is not heard of for 5 s is gone (vLLM 0.23, disagg_proxy_p2p_nccl_xpyd.py). Nothing is answered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import msgpack
import zmq
import zmq.asyncio

from pdtest.embedded.proxy.instances import Instance, Pool, Side, is_address

log = logging.getLogger(__name__)

EXPIRY_S = 5.0
_SIDES = {"P": Side.PREFILL, "D": Side.DECODE}


class Registration:
    """Listens, and keeps the pool as the engines say."""

    def __init__(self, pool: Pool, *, expiry_s: float = EXPIRY_S) -> None:
        self._pool = pool
        self._expiry_s = expiry_s
        self._heard_at: dict[Instance, float] = {}
        self._context: zmq.asyncio.Context | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def start(self, host: str, port: int) -> int:
        """Listen; the port, which may be given as 0. Raises OSError when it is taken."""
        self._context = zmq.asyncio.Context()
        socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, ":" in host)
        try:
            bound = f"[{host}]" if ":" in host else host
            socket.bind(f"tcp://{bound}:{port or '*'}")
        except zmq.ZMQError as error:
            socket.close()
            self._context.term()
            raise OSError(error.errno, error.strerror) from error
        self._tasks = (asyncio.create_task(self._listen(socket)), asyncio.create_task(self._expire()))
        return int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])

    async def close(self) -> None:
        """Listen no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._context is not None:
            self._context.destroy(linger=0)

    async def _listen(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            sender, *rest = await socket.recv_multipart()
            try:
                self._take(msgpack.unpackb(rest[-1]))
            except (ValueError, LookupError, TypeError, msgpack.UnpackException) as error:
                log.warning("registration from %r is not understood, and ignored: %r", sender, error)

    def _take(self, said: Any) -> None:
        """Raises ValueError, LookupError or TypeError for what is no registration."""
        side = _SIDES[said["type"]]
        http_address, zmq_address = said["http_address"], said["zmq_address"]
        if not is_address(http_address) or not is_address(zmq_address):
            raise ValueError(f"expected host:port, seen {http_address!r} and {zmq_address!r}")
        instance = self._pool.find(side, http_address)
        if instance is None:
            # It registers because it runs: no need to ask for its health first.
            instance = self._pool.add(Instance(side=side, address=http_address, out=None, lives=1))
            log.info("%s %s registered, KV at %s", side, http_address, zmq_address)
        instance.zmq_address = zmq_address
        self._heard_at[instance] = time.monotonic()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(self._expiry_s / 20)
            silent_since = time.monotonic() - self._expiry_s
            for instance, heard_at in tuple(self._heard_at.items()):
                if heard_at < silent_since:
                    del self._heard_at[instance]
                    self._pool.remove(instance)
                    log.warning(
                        "%s %s is gone: not heard of for %g s",
                        instance.side,
                        instance.address,
                        self._expiry_s,
                    )
