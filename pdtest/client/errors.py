"""What can become of a request instead of an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pdtest.client.secrets import mask
from pdtest.errors import PdtestError

#: Characters of an answer that an error shows; `RequestFailed.body` has all of it.
EXCERPT = 600


@dataclass(frozen=True, kw_only=True)
class Call:
    """One HTTP request: to whom, where, under which id, and what is sent.

    ``timeout_s`` is for the complete answer.
    """

    member: str
    method: str
    url: str
    timeout_s: float
    request_id: str | None = None
    json: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def __str__(self) -> str:
        named = f", X-Request-Id {self.request_id}" if self.request_id else ""
        return f"{self.method} {self.url} (member {self.member}{named})"


class RequestFailed(PdtestError):
    """A request that got no usable answer.

    ``member``, ``url`` and ``request_id`` say which; ``status`` and ``body`` are what had arrived,
    None if nothing had. Secrets are masked in all of it.
    """

    title = "request failed"

    def __init__(  # noqa: PLR0913 (the parts of a message, by name)
        self,
        summary: str,
        call: Call,
        *,
        status: int | None = None,
        body: str | None = None,
        expected: str | None = None,
        seen: str | None = None,
        next_step: str | None = None,
    ) -> None:
        self.member = call.member
        self.url = mask(call.url, call.secrets)
        self.request_id = call.request_id
        self.status = status
        self.body = None if body is None else mask(body, call.secrets)
        super().__init__(
            mask(summary, call.secrets),
            expected=expected,
            seen=mask(seen, call.secrets) if seen else _excerpt(self.body),
            where=mask(str(call), call.secrets),
            next_step=next_step or f"read the log of '{call.member}' at this time",
        )


class HttpStatusError(RequestFailed):
    """The member answered with an HTTP error."""

    title = "HTTP error"

    def __init__(self, call: Call, *, status: int, body: str) -> None:
        super().__init__(
            f"'{call.member}' answered {status}",
            call,
            status=status,
            body=body,
            expected="status 200",
            seen=_message(body) or _excerpt(body) or "an empty body",
            next_step=_NEXT.get(status),
        )


class RequestTimedOut(RequestFailed):
    """No complete answer within the time allowed. The server may still be working on it."""

    title = "request timed out"

    def __init__(self, call: Call, *, status: int | None = None, body: str | None = None) -> None:
        self.after_s = call.timeout_s
        super().__init__(
            f"'{call.member}' did not finish its answer within {call.timeout_s:g} s",
            call,
            status=status,
            body=body,
            expected=f"an answer within {call.timeout_s:g} s (thresholds: request_timeout_s)",
            seen=_excerpt(body) or ("the headers and nothing else" if status else "nothing"),
        )


class Unreachable(RequestFailed):
    """No connection, or one that was closed before a status arrived."""

    title = "member unreachable"

    def __init__(self, call: Call, *, reason: str) -> None:
        super().__init__(
            f"'{call.member}' cannot be reached",
            call,
            seen=reason,
            next_step=f"is '{call.member}' running, and is this its address?",
        )


class BrokenStream(RequestFailed):
    """An answer that began and did not end as it should: cut off, or an error in the middle."""

    title = "answer broken off"

    def __init__(self, call: Call, *, reason: str, status: int, body: str) -> None:
        self.reason = reason
        super().__init__(
            f"the answer of '{call.member}' broke off: {reason}",
            call,
            status=status,
            body=body,
            expected="a finish_reason for every choice, then 'data: [DONE]'",
            seen=_tail(body) or "nothing after the headers",
        )


class MalformedAnswer(RequestFailed):
    """A complete answer that is not what the OpenAI protocol promises."""

    title = "malformed answer"

    def __init__(self, call: Call, *, reason: str, status: int, body: str) -> None:
        self.reason = reason
        super().__init__(
            f"the answer of '{call.member}' makes no sense: {reason}", call, status=status, body=body
        )


class MemberGone(RequestFailed):
    """The member died while a request waited for it."""

    title = "member died"

    def __init__(self, call: Call, *, how: str) -> None:
        super().__init__(
            f"'{call.member}' died while the request waited",
            call,
            seen=how,
            next_step=f"read the end of the log of '{call.member}'",
        )


_NEXT = {
    401: "set api_key_env of this member to the variable that holds its key",
    403: "set api_key_env of this member to the variable that holds its key",
    404: "is the model name the one that this member serves, and does it have this endpoint?",
}


def _message(body: str) -> str | None:
    """The message of an OpenAI-style error body, {"error": {"message": ...}}."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return None
    error = parsed.get("error") if isinstance(parsed, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else None


def _excerpt(body: str | None) -> str | None:
    if not body:
        return None
    return body if len(body) <= EXCERPT else body[:EXCERPT] + "..."


def _tail(body: str) -> str:
    return body if len(body) <= EXCERPT else "..." + body[-EXCERPT:]
