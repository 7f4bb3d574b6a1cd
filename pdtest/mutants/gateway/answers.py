"""Proxies that change what is answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from pdtest.mutants.gateway.bug import Body, Bug, Side

_OK: Final = 200


class Swallows(Bug):
    """An error becomes status 200, with nothing or with the error in its body."""

    answers = frozenset({Side.FRONT})
    streams = frozenset({Side.FRONT})

    def __init__(self, *, body: bool) -> None:
        self._body = body

    def answer(self, side: Side, asked: Body, status: int, content: bytes) -> tuple[int, bytes]:  # noqa: ARG002
        """200."""
        return _OK, content if status == _OK or self._body else b""


class Rewrites(Bug):
    """Answers with some of their content changed."""

    answers = frozenset({Side.FRONT})

    def __init__(self, change: Callable[[dict[str, Any]], None]) -> None:
        self._change = change

    def answer(self, side: Side, asked: Body, status: int, content: bytes) -> tuple[int, bytes]:  # noqa: ARG002
        """Changed, if it is one."""
        if status != _OK:
            return status, content
        body = json.loads(content)
        self._change(body)
        return status, json.dumps(body).encode()


class MixesUp(Bug):
    """A client gets the answer of the request before."""

    answers = frozenset({Side.FRONT})

    def __init__(self) -> None:
        self._before: dict[str, bytes] = {}

    def answer(self, side: Side, asked: Body, status: int, content: bytes) -> tuple[int, bytes]:  # noqa: ARG002
        """What the last one of its kind got."""
        kind = "chat" if "messages" in asked else "completion"
        before, self._before[kind] = self._before.get(kind, content), content
        return status, before


def _finish(value: Mapping[str, str] | None, body: dict[str, Any]) -> None:
    for choice in body["choices"]:
        reason = choice.get("finish_reason")
        choice["finish_reason"] = value.get(reason, reason) if value else None


def _no_usage(body: dict[str, Any]) -> None:
    body.pop("usage", None)


def _one_token_less(body: dict[str, Any]) -> None:
    body["usage"]["completion_tokens"] -= 1
    body["usage"]["total_tokens"] -= 1


def _shorter(body: dict[str, Any]) -> None:
    for choice in body["choices"]:
        if "text" in choice:
            choice["text"] = choice["text"][:-1]
        else:
            choice["message"]["content"] = choice["message"]["content"][:-1]


BUGS: Final[Mapping[str, Callable[[], Bug]]] = {
    "answer-of-another": MixesUp,
    "error-swallowed": partial(Swallows, body=False),
    "error-as-answer": partial(Swallows, body=True),
    "finish-lost": partial(Rewrites, partial(_finish, None)),
    "finish-wrong": partial(Rewrites, partial(_finish, {"stop": "length", "length": "stop"})),
    "text-cut": partial(Rewrites, _shorter),
    "usage-lost": partial(Rewrites, _no_usage),
    "usage-wrong": partial(Rewrites, _one_token_less),
}
