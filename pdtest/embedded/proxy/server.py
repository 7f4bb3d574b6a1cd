"""The web server that the proxy runs in."""

from __future__ import annotations

import asyncio
import logging

import uvicorn

from pdtest.embedded.proxy.application import application
from pdtest.embedded.proxy.proxy import Proxy

#: Longer than any client keeps an idle connection, so that it is the client who closes it.
_KEEP_IDLE_S = 75
#: For answers under way when the proxy is told to end.
_GRACE_S = 1
#: Connections that may wait to be accepted.
BACKLOG = 2048


def server_for(proxy: Proxy) -> uvicorn.Server:
    """Not started yet. Answers keep the headers that instances gave them."""
    server = uvicorn.Server(
        uvicorn.Config(
            application(proxy),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=_KEEP_IDLE_S,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    return server


def _is_news(record: logging.LogRecord) -> bool:
    """Errors of uvicorn, but for what is meant: answers that are cut off, also at the end."""
    ended = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    meant = ("ASGI callable returned without completing response", "Cancel %s running task")
    return not ended and not str(record.msg).startswith(meant)
