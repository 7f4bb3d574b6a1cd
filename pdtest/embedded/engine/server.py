"""The engine's HTTP server: uvicorn, on a socket that is bound before anything else is done."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette

_log = logging.getLogger(__name__)

#: What answers under way may take to end once they were aborted, in seconds.
_GRACE: Final = 1


class PortTaken(Exception):
    """The API cannot listen where it was told to."""


def bound(host: str, port: int) -> socket.socket:
    """A socket to listen on, not listening yet: clients are refused until the engine serves.

    Raises PortTaken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortTaken(f"cannot listen on {host}:{port}: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"cannot listen on {host}:{port}: {error.strerror}; use another --port, or end what listens there"
        ) from error
    listener.setblocking(False)  # noqa: FBT003 - that is its signature
    return listener


class Server(uvicorn.Server):
    """Ends on SIGTERM and SIGINT without waiting for answers: ``ending`` is called to cut them short."""

    def __init__(self, app: Starlette, ending: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                timeout_graceful_shutdown=_GRACE,
                timeout_keep_alive=_keep_idle_s(),
                backlog=2048,
            )
        )
        self._ending = ending

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's own it does not raise the signal again at the end, which would skip the rest."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for one in signals:
            loop.add_signal_handler(one, self.handle_exit, one, None)
        try:
            yield
        finally:
            for one in signals:
                loop.remove_signal_handler(one)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        for one in sockets or ():
            _log.info("listening on %s:%d", *one.getsockname()[:2])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening and end all answers."""
        self._ending()
        await super().shutdown(sockets)


def _keep_idle_s() -> int:
    """How long a connection may idle, seconds: as vLLM, of which it is said in a variable (5)."""
    return int(os.environ.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE") or 5)
