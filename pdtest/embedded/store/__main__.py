"""The store's meta process: ``python -m pdtest.embedded.store --help``."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys

import uvicorn
import uvloop

from pdtest.embedded.store.http import application
from pdtest.embedded.store.meta import MetaService
from pdtest.embedded.store.settings import StoreSettings


def main() -> None:
    """Serve until a signal."""
    settings = StoreSettings.parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has shut down; the rest then ends in its own order.
        signal.signal(number, lambda *_: sys.exit(0))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: StoreSettings) -> None:
    meta = MetaService(settings)
    try:
        await meta.start()
    except OSError as error:
        sys.exit(f"--port {settings.port} on {settings.host}: {error.strerror or error}")
    try:
        listening = socket.create_server((settings.host, settings.http_port))
    except OSError as error:
        sys.exit(f"--http-port {settings.http_port} on {settings.host}: {error.strerror or error}")
    logging.getLogger(__name__).info(
        "store ready: channel %s:%s, http %s:%s, %s bytes of its own",
        settings.host,
        meta.port,
        *listening.getsockname()[:2],
        settings.segment_bytes,
    )
    config = uvicorn.Config(
        application(meta), http="httptools", ws="none", lifespan="off", log_level="warning", access_log=False
    )
    try:
        await uvicorn.Server(config).serve(sockets=[listening])
    finally:
        await meta.close()


if __name__ == "__main__":
    main()
