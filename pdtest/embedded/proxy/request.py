"""What a client asked for, and the two bodies that are made of it."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any

from pdtest.embedded.proxy.blocks import blocks_of
from pdtest.embedded.proxy.errors import Failure

#: What tells sessions apart, unless it is said otherwise.
SESSION_HEADER = "x-session-id"
#: They would contradict a single token that is not streamed.
_NOT_FOR_PREFILL = ("stream_options", "min_tokens", "kv_transfer_params")
_ONE = ("max_completion_tokens", "n")
#: Of a completion that does not say; a chat goes on as long as the model can (OpenAI's API, and vLLM's).
_DEFAULT_MOST_TOKENS = 16


@dataclass(kw_only=True, eq=False)
class ClientRequest:
    """A request for tokens.

    ``request_id`` is the client's, or a new one. ``session`` is what it belongs to, if it says so.
    ``prompt_tokens`` is an estimate until an engine has counted.
    """

    path: str
    body: Mapping[str, Any]
    request_id: str
    authorization: str | None = None
    session: str | None = None
    prompt_tokens: int = 0

    @classmethod
    def parse(
        cls,
        path: str,
        headers: Iterable[tuple[bytes, bytes]],
        content: bytes,
        *,
        key: str | None,
        session_header: str = SESSION_HEADER,
    ) -> ClientRequest:
        """Out of a request's parts. ``key`` stands in where the client brings none. Raises Failure, 400."""
        named = dict(headers)
        authorization = named.get(b"authorization", b"").decode("latin-1")
        if not authorization and key:
            authorization = f"Bearer {key}"
        return cls(
            path=path,
            body=_object(content),
            request_id=named.get(b"x-request-id", b"").decode("latin-1") or uuid.uuid4().hex,
            authorization=authorization or None,
            session=named.get(session_header.lower().encode(), b"").decode("latin-1") or None,
        )

    @property
    def streams(self) -> bool:
        """Whether the answer is to come in events."""
        return bool(self.body.get("stream"))

    @property
    def most_tokens(self) -> float:
        """How long an answer may become, tokens: at least 1, infinite where nothing bounds it."""
        said = self.body.get("max_completion_tokens") if self.is_chat else None
        most = self.body.get("max_tokens") if said is None else said
        if most is None:
            return math.inf if self.is_chat else _DEFAULT_MOST_TOKENS
        return max(most, 1) if isinstance(most, int) else math.inf

    @property
    def choices(self) -> int:
        """How many answers there are to be."""
        number, prompt = self.body.get("n"), self.body.get("prompt")
        prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
        return max(number if isinstance(number, int) else 1, 1) * prompts

    @cached_property
    def blocks(self) -> tuple[int, ...]:
        """The prompt, as `blocks_of` has it."""
        return blocks_of(self.body)

    @property
    def is_chat(self) -> bool:
        """Whether the prompt is made of messages."""
        return "messages" in self.body

    def headers(self, request_id: str) -> dict[str, str]:
        """What an instance gets beside the body."""
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
        if self.authorization is not None:
            headers["Authorization"] = self.authorization
        return headers

    def for_prefill(self, params: Mapping[str, Any] | None, *, min_tokens: int = 0) -> bytes:
        """One token, one choice, not streamed, ``min_tokens`` if not 0; the rest as it is."""
        body = {key: value for key, value in self.body.items() if key not in _NOT_FOR_PREFILL}
        body |= {key: 1 for key in _ONE if body.get(key) is not None}
        body |= {"max_tokens": 1, "stream": False}
        if min_tokens:
            body["min_tokens"] = min_tokens
        return _dumps(body, params)

    def for_decode(self, params: Mapping[str, Any] | None) -> bytes:
        """What the client sent, with the contract's parameters."""
        return _dumps({key: value for key, value in self.body.items() if key != "kv_transfer_params"}, params)


def _dumps(body: dict[str, Any], params: Mapping[str, Any] | None) -> bytes:
    if params is not None:
        body["kv_transfer_params"] = params
    # Escaped to ASCII, so that lone surrogates come through as the client sent them.
    return json.dumps(body, separators=(",", ":")).encode()


def _object(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Failure(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Failure(HTTPStatus.BAD_REQUEST, f"the body is JSON, but a {type(body).__name__}, not an object")
    return body
