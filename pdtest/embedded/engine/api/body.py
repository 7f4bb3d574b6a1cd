"""Bodies of requests, from bytes to an object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from pdtest.embedded.engine.api.errors import Malformed, Problem, WrongMediaType


async def read(request: Request) -> Mapping[str, Any]:
    """The JSON object that ``request`` carries. Raises ApiError."""
    declared = request.headers.get("content-type", "")
    if declared.partition(";")[0].strip().lower() != "application/json":
        raise WrongMediaType(declared)
    content = await request.body()
    if not content:
        raise _no_object("body", None)
    try:
        body = json.loads(content)
    except UnicodeDecodeError as error:
        raise _no_object(f"body.{error.start}", f"{error.reason}") from error
    except json.JSONDecodeError as error:
        raise _no_object(f"body.{error.pos}", f"{error.msg}") from error
    if not isinstance(body, dict):
        raise _no_object("body", body)
    return body


def _no_object(place: str, seen: Any) -> Malformed:
    return Malformed([Problem(place=place, expected="a JSON object", seen=seen)])
