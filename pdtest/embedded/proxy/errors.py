"""What the proxy itself answers when it cannot pass an answer on, in the shape of vLLM's errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus


class Failure(Exception):
    """A request that the proxy ends by itself. ``kind`` is the error's type, as in ``BadRequestError``."""

    content_type = "application/json"

    def __init__(self, status: int, message: str, *, kind: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind or _KINDS.get(status, "InternalServerError")

    @property
    def body(self) -> bytes:
        """The error as OpenAI's clients expect it."""
        return error_body(self.status, str(self), self.kind)


class PassedOn(Failure):
    """An instance's own answer to a request that cannot go on: status and body as they came."""

    def __init__(self, status: int, content: bytes, content_type: str) -> None:
        super().__init__(status, f"an instance answered {status}")
        self._content = content
        self.content_type = content_type

    @property
    def body(self) -> bytes:
        """What the instance said."""
        return self._content


class NoneLeft(Failure):
    """No instance of a side can take the request: 503."""

    def __init__(self, side: str, why: str) -> None:
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, f"no {side} instance can take the request: {why}")


def error_body(status: int, message: str, kind: str) -> bytes:
    """``{"error": {message, type, param, code}}``, as vLLM has it."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": status}}).encode()


_KINDS: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "BadRequestError",
    HTTPStatus.UNAUTHORIZED: "AuthenticationError",
    HTTPStatus.NOT_FOUND: "NotFoundError",
    HTTPStatus.METHOD_NOT_ALLOWED: "MethodNotAllowedError",
    HTTPStatus.CONFLICT: "ConflictError",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestTooLargeError",
    HTTPStatus.BAD_GATEWAY: "BadGatewayError",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailableError",
}
