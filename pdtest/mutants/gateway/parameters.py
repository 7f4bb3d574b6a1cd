"""Proxies that lose or mix up ``kv_transfer_params`` between prefill and decode."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from pdtest.mutants.gateway.bug import Body, Bug, Side

_PARAMS: Final = "kv_transfer_params"
_BLOCKS: Final = "remote_block_ids"


class Changes(Bug):
    """Parameters on one side are others; None: there are none."""

    def __init__(self, side: Side, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        self._side, self._change = side, change

    def ask(self, side: Side, body: Body) -> Body:
        """With the changed ones."""
        params = body.get(_PARAMS)
        if side is not self._side or not isinstance(params, dict):
            return body
        changed = self._change(dict(params))
        rest = {key: value for key, value in body.items() if key != _PARAMS}
        return rest if changed is None else {**rest, _PARAMS: changed}


class Consumed(Bug):
    """Decode gets the parameters of the first request that it was asked with, always."""

    def __init__(self) -> None:
        self._first: dict[str, Any] | None = None

    def ask(self, side: Side, body: Body) -> Body:
        """With the first request's."""
        if side is not Side.DECODE or not body.get(_PARAMS):
            return body
        self._first = self._first or body[_PARAMS]
        return {**body, _PARAMS: self._first}


class Latest(Bug):
    """One variable for all requests: under load decode gets what prefill answered another one."""

    answers = frozenset({Side.PREFILL})

    def __init__(self) -> None:
        self._latest: dict[str, Any] | None = None

    def answer(self, side: Side, asked: Body, status: int, content: bytes) -> tuple[int, bytes]:  # noqa: ARG002
        """Remember its parameters."""
        params = json.loads(content).get(_PARAMS) if status == 200 else None  # noqa: PLR2004
        self._latest = params or self._latest
        return status, content

    def ask(self, side: Side, body: Body) -> Body:
        """With what prefill answered last."""
        if side is Side.DECODE and self._latest and body.get(_PARAMS):
            return {**body, _PARAMS: self._latest}
        return body


def _blocks(change: Callable[[list[int]], list[int]], params: dict[str, Any]) -> dict[str, Any]:
    groups = params.get(_BLOCKS) or []
    flat = bool(groups) and not isinstance(groups[0], list)
    return {**params, _BLOCKS: change(groups) if flat else [change(group) for group in groups]}


def _none(_: dict[str, Any]) -> None:
    return None


def _unnamed(params: dict[str, Any]) -> dict[str, Any]:
    return {**params, "remote_request_id": f"{params.get('remote_request_id')}-x"}


def _not_remote(params: dict[str, Any]) -> dict[str, Any]:
    return {**params, "do_remote_prefill": False}


def _old_engine(params: dict[str, Any]) -> dict[str, Any]:
    return {**params, "remote_engine_id": "engine-before-the-restart"}


_at_decode = partial(Changes, Side.DECODE)

BUGS: Final[Mapping[str, Callable[[], Bug]]] = {
    "blocks-dropped": partial(_at_decode, partial(_blocks, lambda ids: ids[:-1])),
    "blocks-repeated": partial(_at_decode, partial(_blocks, lambda ids: ids[:1] * len(ids))),
    "blocks-reversed": partial(_at_decode, partial(_blocks, lambda ids: ids[::-1])),
    "params-consumed": Consumed,
    "params-latest": Latest,
    "params-lost": partial(_at_decode, _none),
    "params-not-remote": partial(_at_decode, _not_remote),
    "params-old-engine": partial(_at_decode, _old_engine),
    "params-unasked": partial(Changes, Side.PREFILL, _none),
    "params-unknown-id": partial(_at_decode, _unnamed),
}
