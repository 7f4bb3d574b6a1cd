"""How P2P NCCL's engines tell a proxy that they are there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgpack

#: A proxy drops instances that it has not heard of for 5 s (disagg_proxy_p2p_nccl_xpyd.py).
_EVERY_S = 1.0


async def ping(proxy: str, identity: str, said: Mapping[str, str]) -> None:
    """Say ``said`` to the ZMQ router at ``proxy`` (host:port) every second, until cancelled.

    zmq is imported here: only this connector needs it.
    """
    import zmq
    import zmq.asyncio

    context: Any = zmq.asyncio.Context()
    socket = context.socket(zmq.DEALER)
    try:
        socket.setsockopt_string(zmq.IDENTITY, identity)
        # A proxy that is not there, or comes back, is to hear what is so now, and not what was.
        socket.setsockopt(zmq.SNDHWM, 1)
        socket.connect(f"tcp://{proxy}")
        content = msgpack.packb(dict(said))
        while True:
            with suppress(zmq.Again):
                await socket.send(content, flags=zmq.NOBLOCK)
            await asyncio.sleep(_EVERY_S)
    finally:
        socket.close(linger=0)
        context.term()
