"""What the meta process serves over HTTP: is it well, its metrics, its state."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pdtest.embedded.store.meta import MetaService


def application(meta: MetaService) -> Starlette:
    """/health and /metrics as memcache's meta service has them, and /stats."""
    registry = CollectorRegistry()
    registry.register(meta.metrics)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "service_ready": True})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def stats(_: Request) -> Response:
        return JSONResponse(meta.snapshot())

    return Starlette(
        routes=[Route("/health", health), Route("/metrics", metrics), Route("/stats", stats)],
    )
