"""Mooncake's bootstrap server: where decode learns how to reach prefill's ranks.

Paths, bodies and answers are those of vLLM 0.32, mooncake/mooncake_utils.py.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pdtest.embedded.connectors.peers import Address

_WORKER = re.compile(r"tcp://(?P<host>.+):(?P<port>\d+)")
_FIELDS: Mapping[str, type] = {
    "engine_id": str,
    "dp_rank": int,
    "tp_rank": int,
    "pp_rank": int,
    "addr": str,
}


class Bootstrap:
    """What the workers of one prefill instance registered, by data-parallel rank."""

    def __init__(self) -> None:
        self._engines: dict[int, str] = {}
        self._workers: dict[int, dict[int, dict[int, str]]] = {}
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the port is taken."""
        listening = socket.create_server((host, port))
        application = Starlette(
            routes=[
                Route("/register", self._register, methods=["POST"]),
                Route("/query", self._query, methods=["GET"]),
            ]
        )
        config = uvicorn.Config(
            application,
            lifespan="off",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving

    async def _register(self, request: Request) -> JSONResponse:
        try:
            said = await request.json()
        except ValueError:
            said = None
        if not isinstance(said, dict) or not all(
            isinstance(said.get(name), kind) for name, kind in _FIELDS.items()
        ):
            return JSONResponse({"detail": f"expected {', '.join(_FIELDS)}, got {said!r}"}, 422)
        engine = self._engines.setdefault(said["dp_rank"], said["engine_id"])
        if engine != said["engine_id"]:
            problem = f"Engine ID mismatch for dp_rank={said['dp_rank']}: "
            return JSONResponse({"detail": f"{problem}expected {engine}, got {said['engine_id']}"}, 400)
        ranks = self._workers.setdefault(said["dp_rank"], {}).setdefault(said["tp_rank"], {})
        known = ranks.setdefault(said["pp_rank"], said["addr"])
        if known != said["addr"]:
            place = f"dp_rank={said['dp_rank']}, tp_rank={said['tp_rank']}, pp_rank={said['pp_rank']}"
            problem = f"Worker with {place} is already registered at {known}, but still want to register at"
            return JSONResponse({"detail": f"{problem} {said['addr']}"}, 400)
        return JSONResponse({"status": "ok"})

    async def _query(self, _: Request) -> JSONResponse:
        return JSONResponse(
            {
                str(rank): {
                    "engine_id": engine,
                    "worker_addr": {
                        str(tensor): {str(stage): addr for stage, addr in stages.items()}
                        for tensor, stages in self._workers[rank].items()
                    },
                }
                for rank, engine in self._engines.items()
            }
        )


def addresses(answer: Any) -> dict[str, Address]:
    """Engines by their id, out of what /query answered. Raises ValueError when that is something else."""
    known: dict[str, Address] = {}
    try:
        for entry in answer.values():
            workers: Mapping[str, Mapping[str, str]] = entry["worker_addr"]
            first = _WORKER.fullmatch(workers["0"]["0"])
            if first is None:
                raise ValueError(f"tcp://host:port expected, got {workers['0']['0']!r}")
            known[entry["engine_id"]] = Address(
                host=first["host"],
                port=int(first["port"]),
                engine_id=entry["engine_id"],
                ranks=len(workers),
            )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"expected engines and their workers, got {answer!r}") from error
    return known


class _Server(uvicorn.Server):
    """One that leaves signals to the engine."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()
