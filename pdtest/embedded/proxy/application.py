"""The proxy as an ASGI application."""

from __future__ import annotations

from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pdtest.embedded.proxy.administration import Administration
from pdtest.embedded.proxy.errors import Failure
from pdtest.embedded.proxy.proxy import Proxy
from pdtest.embedded.proxy.relay import Relay
from pdtest.embedded.proxy.request import SESSION_HEADER

RELAYED = ("/v1/completions", "/v1/chat/completions")


def application(proxy: Proxy) -> Starlette:
    """Its endpoints."""
    relay = Relay(
        lead=proxy.lead,
        tell=proxy.requests.tell,
        most_bytes=proxy.settings.most_bytes,
        key=proxy.settings.key,
        session_header=proxy.settings.routing.session_header or SESSION_HEADER,
    )
    about = Administration(proxy)
    return Starlette(
        routes=[
            *(Route(path, relay, methods=["POST"]) for path in RELAYED),
            Route("/v1/models", about.models),
            Route("/v1/metaserver", about.metaserver, methods=["POST"]),
            Route("/health", about.health),
            Route("/healthcheck", about.health),
            Route("/stats", about.stats),
            Route("/metrics", about.metrics),
            Route("/instances", about.instances),
            Route("/scaling", about.scaling),
            Route("/instances/add", about.add_instances, methods=["POST"]),
            Route("/instances/remove", about.remove_instances, methods=["POST"]),
        ],
        exception_handlers={Failure: _failed, HTTPException: _refused, Exception: _crashed},
    )


async def _failed(_: Request, error: Exception) -> Response:
    failure = error if isinstance(error, Failure) else Failure(500, str(error))
    return Response(failure.body, failure.status, media_type=failure.content_type)


async def _refused(request: Request, error: Exception) -> Response:
    """Paths and methods that are not there."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = f"{request.method} {request.url.path}: {HTTPStatus(status).phrase}"
    return await _failed(request, Failure(status, message))


async def _crashed(request: Request, error: Exception) -> Response:
    """A bug. Starlette raises the error on, so that the log has it."""
    return await _failed(request, Failure(500, f"the proxy failed: {type(error).__name__}: {error}"))
