"""Errors as vLLM answers them: `{"error": {"message", "type", "param", "code"}}`.

vLLM 0.32 knows two families of status 400: `Bad Request` for bodies of the wrong shape, with a param like
`body.prompt`, and `BadRequestError` for values that make no sense, with a param like `temperature`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

_TYPES: Final = {
    HTTPStatus.BAD_REQUEST: "BadRequestError",
    HTTPStatus.NOT_FOUND: "NotFoundError",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalServerError",
    HTTPStatus.NOT_IMPLEMENTED: "NotImplementedError",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailableError",
}
#: As many problems of one body are told.
_TOLD: Final = 10
_SEEN_LENGTH: Final = 60


class ApiError(Exception):
    """A request that gets an error for an answer."""

    def __init__(
        self,
        message: str,
        *,
        status: int = HTTPStatus.BAD_REQUEST,
        param: str | None = None,
        kind: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = int(status)
        self.param = param
        self.kind = kind or _TYPES.get(HTTPStatus(status), HTTPStatus(status).phrase)

    def body(self) -> dict[str, Any]:
        """What the client gets to read."""
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.status}
        return {"error": error}


class BadValue(ApiError):
    """A field whose value makes no sense, or not together with others."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message, param=param)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A place in a body where something else was expected. ``place``: as `body.messages.0.content`."""

    place: str
    expected: str
    seen: Any

    def __str__(self) -> str:
        return f"{self.place}: expected {self.expected}, seen {_shown(self.seen)}"


class Malformed(ApiError):
    """A body that does not have the shape of a request."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        lines = [str(problem) for problem in problems[:_TOLD]]
        count = len(problems)
        heading = f"{count} validation error{'s' if count > 1 else ''}:"
        super().__init__(
            "\n  ".join([heading, *lines]), param=problems[0].place, kind=HTTPStatus.BAD_REQUEST.phrase
        )


class WrongMediaType(ApiError):
    """A body that is not declared as JSON."""

    def __init__(self, seen: str) -> None:
        super().__init__(
            f"1 validation error:\n  Unsupported Media Type: expected application/json, seen {seen!r}",
            kind=HTTPStatus.BAD_REQUEST.phrase,
        )


class NoSuchModel(ApiError):
    """A request for a model that is not served here."""

    def __init__(self, asked: str, served: str) -> None:
        super().__init__(
            f"The model `{asked}` does not exist. Valid aliases: {served}.",
            status=HTTPStatus.NOT_FOUND,
            param="model",
        )


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return f"a {'list' if isinstance(value, list) else 'object'} of {len(value)} items"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= _SEEN_LENGTH else f"{text[:_SEEN_LENGTH]}..."
