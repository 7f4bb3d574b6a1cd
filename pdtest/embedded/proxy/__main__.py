"""The proxy's process: ``python -m pdtest.embedded.proxy --help``."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys

import uvloop

from pdtest.embedded.proxy.contracts.registry import CONTRACTS
from pdtest.embedded.proxy.policies.registry import POLICIES
from pdtest.embedded.proxy.proxy import opened
from pdtest.embedded.proxy.server import BACKLOG, server_for
from pdtest.embedded.proxy.settings import Settings

log = logging.getLogger(__name__)


def main() -> None:
    """Serve until a signal."""
    settings = Settings.parse(contracts=tuple(CONTRACTS), policies=tuple(POLICIES))
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has shut down; the rest then ends in its own order.
        signal.signal(number, lambda *_: sys.exit(0))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listening = socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        sys.exit(f"--port {settings.port} on {settings.host}: {error.strerror or error}")
    try:
        async with opened(settings) as proxy:
            log.info(
                "%s proxy at %s:%s, %s: %s prefill, %s decode and %s hybrid instances",
                ",".join(settings.contract),
                *listening.getsockname()[:2],
                settings.routing.phase or "all handed over",
                len(settings.prefills),
                len(settings.decodes),
                len(settings.hybrids),
            )
            await server_for(proxy).serve(sockets=[listening])
    except OSError as error:
        sys.exit(f"--zmq-port {settings.zmq_port} on {settings.host}: {error.strerror or error}")


if __name__ == "__main__":
    main()
