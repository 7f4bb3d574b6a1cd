"""Proxies that change what is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from pdtest.mutants.gateway.bug import Body, Bug, Side


class Loses(Bug):
    """Settings of the client's request do not get through."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def ask(self, side: Side, body: Body) -> Body:
        """Without them."""
        if side is not Side.FRONT:
            return body
        return {key: value for key, value in body.items() if key not in self._names}


class Sets(Bug):
    """A setting of what one side is sent is overwritten."""

    def __init__(self, side: Side, name: str, value: Any) -> None:
        self._side, self._name, self._value = side, name, value

    def ask(self, side: Side, body: Body) -> Body:
        """With it."""
        return {**body, self._name: self._value} if side is self._side else body


class Twice(Bug):
    """A retry that was not needed: one side gets each request twice."""

    def __init__(self, side: Side) -> None:
        self.twice = frozenset({side})


class KeepsMinTokens(Bug):
    """The client's ``min_tokens`` stay in prefill's request for a single token."""

    def __init__(self) -> None:
        self._last: int | None = None

    def ask(self, side: Side, body: Body) -> Body:
        """Prefill is asked for more tokens than it may give."""
        if side is Side.FRONT:
            self._last = body.get("min_tokens")
        elif side is Side.PREFILL and self._last is not None:
            return {**body, "min_tokens": self._last}
        return body


BUGS: Final[Mapping[str, Callable[[], Bug]]] = {
    "bias-lost": partial(Loses, "logit_bias"),
    "decode-one-token": partial(Sets, Side.DECODE, "max_tokens", 1),
    "decode-twice": partial(Twice, Side.DECODE),
    "logprobs-lost": partial(Loses, "logprobs", "top_logprobs"),
    "min-tokens-kept": KeepsMinTokens,
    "min-tokens-lost": partial(Loses, "min_tokens"),
    "prefill-twice": partial(Twice, Side.PREFILL),
    "prompt-logprobs-lost": partial(Loses, "prompt_logprobs"),
    "seed-lost": partial(Loses, "seed"),
    "stop-lost": partial(Loses, "stop", "stop_token_ids"),
}
