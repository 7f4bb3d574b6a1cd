"""Runs Mooncake's proxy script with its own flags: serve.py SCRIPT FLAGS...

Until it has asked every prefill instance who it is, the script answers 503 to requests, and nothing of it can
be asked for that. What is added is GET /health.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse


async def health(request: Request) -> JSONResponse:
    """200 once the script takes requests."""
    ready = getattr(request.app.state, "ready", None)
    if ready is None or ready.is_set():  # without `ready` (before vLLM 0.15) it does not wait
        return JSONResponse({"detail": "ready"})
    absent = "not every prefill instance has answered /query on its bootstrap port"
    return JSONResponse({"detail": absent}, status_code=503)


def main(script: str, flags: list[str]) -> None:
    """Serve until told to end."""
    serve = uvicorn.run

    def serve_with_health(app: Any, **settings: Any) -> None:
        app.add_route("/health", health)
        serve(app, **settings)

    uvicorn.run = serve_with_health
    sys.argv = [script, *flags]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
