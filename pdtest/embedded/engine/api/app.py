"""The engine's HTTP application."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from pdtest.embedded.engine.api.admin import Admin
from pdtest.embedded.engine.api.auth import Authentication
from pdtest.embedded.engine.api.chat import chat
from pdtest.embedded.engine.api.completions import completions
from pdtest.embedded.engine.api.errors import ApiError
from pdtest.embedded.engine.api.ports import Cores
from pdtest.embedded.engine.api.service import Service
from pdtest.embedded.engine.api.streaming import send_json
from pdtest.embedded.engine.settings import Settings

_logger: Final = logging.getLogger(__name__)


def application(cores: Cores, settings: Settings) -> Starlette:
    """The API of the engine whose ranks are ``cores``."""
    service = Service(cores, settings)
    admin = Admin(service)
    post, both = ["POST"], ["GET", "POST"]
    return Starlette(
        routes=[
            Route("/v1/completions", _Endpoint(completions, service), methods=post),
            Route("/v1/chat/completions", _Endpoint(chat, service), methods=post),
            Route("/v1/models", admin.models),
            Route("/health", admin.health),
            Route("/ping", admin.health, methods=both),
            Route("/version", admin.version),
            Route("/load", admin.load),
            Route("/server_info", admin.server_info),
            Route("/metrics", admin.metrics),
            Route("/tokenize", admin.tokenize, methods=post),
            Route("/detokenize", admin.detokenize, methods=post),
            Route("/reset_prefix_cache", admin.reset_prefix_cache, methods=post),
        ],
        middleware=[Middleware(Authentication, key=settings.api_key)] if settings.api_key else [],
        exception_handlers={ApiError: _api_error, HTTPException: _http_error, Exception: _api_error},
    )


class _Endpoint:
    """An endpoint that sends for itself. Errors are answered as long as nothing was sent."""

    def __init__(
        self, handle: Callable[[Service, Scope, Receive, Send], Awaitable[None]], service: Service
    ) -> None:
        self._handle = handle
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._handle(self._service, scope, receive, noting)
        except ClientDisconnect:
            return
        except Exception as error:
            if started:
                raise
            error = _as_api_error(error)
            await send_json(send, error.body(), status=error.status)


def _as_api_error(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    _logger.error("a request failed", exc_info=error)
    return ApiError(f"{type(error).__name__}: {error}", status=500)


async def _api_error(_request: Request, error: Exception) -> JSONResponse:
    error = _as_api_error(error)
    return JSONResponse(error.body(), status_code=error.status)


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    """No such path, or not with that method: what FastAPI answers."""
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)
