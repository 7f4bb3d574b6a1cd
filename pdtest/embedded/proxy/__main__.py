"""The proxy's process: ``python -m pdtest.embedded.proxy --help``."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys

import uvicorn
import uvloop

from pdtest.embedded.proxy.application import application
from pdtest.embedded.proxy.contracts.registry import CONTRACTS
from pdtest.embedded.proxy.policies import POLICIES
from pdtest.embedded.proxy.proxy import opened
from pdtest.embedded.proxy.settings import Settings

log = logging.getLogger(__name__)

#: Longer than any client keeps an idle connection, so that it is the client who closes it.
_KEEP_IDLE_S = 75
#: For answers under way when the proxy is told to end.
_GRACE_S = 1
_BACKLOG = 2048


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
        listening = socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        sys.exit(f"--port {settings.port} on {settings.host}: {error.strerror or error}")
    try:
        async with opened(settings) as proxy:
            server = uvicorn.Server(
                uvicorn.Config(
                    application(proxy),
                    http="httptools",
                    ws="none",
                    lifespan="off",
                    log_level="warning",
                    access_log=False,
                    server_header=False,
                    date_header=False,
                    backlog=_BACKLOG,
                    timeout_keep_alive=_KEEP_IDLE_S,
                    timeout_graceful_shutdown=_GRACE_S,
                )
            )
            logging.getLogger("uvicorn.error").addFilter(_is_news)
            log.info(
                "%s proxy at %s:%s, %s: %s prefill and %s decode instances",
                ",".join(settings.contract),
                *listening.getsockname()[:2],
                settings.policy,
                len(settings.prefills),
                len(settings.decodes),
            )
            await server.serve(sockets=[listening])
    except OSError as error:
        sys.exit(f"--zmq-port {settings.zmq_port} on {settings.host}: {error.strerror or error}")


def _is_news(record: logging.LogRecord) -> bool:
    """Errors of uvicorn, but for what is meant: answers that are cut off, also at the end."""
    ended = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    meant = ("ASGI callable returned without completing response", "Cancel %s running task")
    return not ended and not str(record.msg).startswith(meant)


if __name__ == "__main__":
    main()
