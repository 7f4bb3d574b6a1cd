"""The gateway's process: ``python -m pdtest.mutants.gateway --help``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path

import httpx
import uvicorn

from pdtest.mutants.gateway.bug import Side
from pdtest.mutants.gateway.gate import Gate
from pdtest.mutants.gateway.switch import Switch

log = logging.getLogger(__name__)


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(prog="python -m pdtest.mutants.gateway", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--switch", type=Path, required=True, help="file that names the bug, read at each request"
    )
    for side in Side:
        parser.add_argument(
            f"--{side}", nargs=2, metavar=("PORT", "URL"), help=f"listen on PORT, pass on to URL: {side} side"
        )
    settings = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    asyncio.run(_serve(settings))


async def _serve(settings: argparse.Namespace) -> None:
    switch = Switch(settings.switch)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(None), trust_env=False) as http,
        asyncio.TaskGroup() as group,
    ):
        for side in Side:
            if getattr(settings, side) is None:
                continue
            port, upstream = getattr(settings, side)
            family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
            listening = socket.create_server((settings.host, int(port)), family=family, backlog=2048)
            log.info("%s at %s:%s, before %s", side, settings.host, port, upstream)
            server = _server(Gate(side, upstream.rstrip("/"), switch, http))
            group.create_task(server.serve(sockets=[listening]))


def _server(gate: Gate) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            gate,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=2048,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
    )


if __name__ == "__main__":
    main()
