"""The API key."""

from __future__ import annotations

import secrets
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pdtest.embedded.engine.api.streaming import send_json

#: As vLLM 0.32 (serve/middleware/authenticate.py): probes and metrics are open.
_GUARDED: Final = "/v1"


class Authentication:
    """Answers 401 on /v1 to whoever does not bring the key as a bearer token."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The request, if it may pass."""
        guarded = scope["type"] == "http" and scope["path"].startswith(_GUARDED)
        if guarded and scope["method"] != "OPTIONS" and not self._allowed(Headers(scope=scope)):
            await send_json(send, {"error": "Unauthorized"}, status=401)
            return
        await self._app(scope, receive, send)

    def _allowed(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and secrets.compare_digest(token.encode(), self._key)
