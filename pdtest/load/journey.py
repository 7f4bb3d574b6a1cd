"""One request's way through a deployment, with everything that can be prepared done before."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pdtest.client.request import Request
from pdtest.load.answer import Answer
from pdtest.load.ask import Ask
from pdtest.load.client import Line, LoadClient
from pdtest.load.way import Target, Way
from pdtest.wire.contract import Contract, Params

_OK = 200


@dataclass(slots=True, kw_only=True)
class Seen:
    """What came of one request. ``prefill``: the first leg of a handoff that the client leads."""

    ask: Ask
    answer: Answer
    prefill: Answer | None = None

    @property
    def sent_at(self) -> float:
        """When it left, CLOCK_MONOTONIC."""
        return (self.prefill or self.answer).sent_at

    @property
    def ended_at(self) -> float:
        """When it was over, CLOCK_MONOTONIC."""
        return self.answer.ended_at or (self.prefill.ended_at if self.prefill else 0.0)


@dataclass(slots=True, kw_only=True)
class _Letter:
    """``body`` is what is posted to ``path``, as bytes."""

    target: Target
    path: str
    headers: bytes
    body: bytes


@dataclass(slots=True, kw_only=True)
class Journey:
    """Sends one request. Make it before the load begins, `prepare` it shortly before its time."""

    ask: Ask
    timeout_s: float
    _last: _Letter
    _first: _Letter | None
    _contract: Contract | None
    _lines: list[Line] = field(default_factory=list)
    _problem: str | None = None

    @classmethod
    def of(cls, ask: Ask, way: Way, timeout_s: float) -> Journey:
        """Over ``way``. Everything but what prefill will answer is known."""
        contract, name, first = way.contract, ask.request_id, None
        if way.prefill is not None and contract is not None:
            stations = (way.prefill.station, way.answers.station)
            name = contract.request_id(name, *stations)
            to_prefill = ask.request.for_prefill(min_tokens=contract.prefill_min_tokens)
            first = _letter(way.prefill, to_prefill, name, contract.params_for_prefill())
        last = _letter(way.answers, ask.request, name, None)
        return cls(ask=ask, timeout_s=timeout_s, _last=last, _first=first, _contract=contract)

    async def prepare(self, clients: Mapping[str, LoadClient]) -> None:
        """Have the connections, unless there are. ``clients`` by URL."""
        if self._lines or self._problem is not None:
            return
        try:
            for letter in (self._first, self._last):
                if letter is not None:
                    self._lines.append(await clients[letter.target.url].line())
        except OSError as error:
            self._problem = f"no connection: {str(error) or type(error).__name__}"

    async def run(self) -> Seen:
        """Send it and wait for its end. What goes wrong is in what it gives."""
        seen = Seen(ask=self.ask, answer=Answer(), prefill=Answer() if self._first else None)
        if self._problem is not None:
            seen.answer.sent_at = seen.answer.ended_at = time.monotonic()
            if seen.prefill is not None:
                seen.prefill.sent_at = seen.prefill.ended_at = seen.answer.sent_at
            seen.answer.error = self._problem
            return seen
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._legs(seen)
        except TimeoutError:
            seen.answer.error = f"no complete answer within {self.timeout_s:g} s"
            seen.answer.ended_at = time.monotonic()
        return seen

    async def _legs(self, seen: Seen) -> None:
        last, body = self._last, self._last.body
        if self._first is not None and seen.prefill is not None:
            first = self._first
            await self._lines[0].post(first.path, first.headers, first.body, seen.prefill)
            problem, params = _answered(seen.prefill)
            if problem is not None:
                seen.answer.error, seen.answer.ended_at = f"prefill: {problem}", seen.prefill.ended_at
                return
            body = _with_params(body, self._contract.params_for_decode(params) if self._contract else params)
        await self._lines[-1].post(last.path, last.headers, body, seen.answer)


def _letter(target: Target, request: Request, name: str, params: Params | None) -> _Letter:
    body = request.body(target.model)
    if not body["return_token_ids"]:
        del body["return_token_ids"]
    headers = {"Content-Type": "application/json", "X-Request-Id": name, **target.headers}
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    encoded = json.dumps(body, separators=(",", ":")).encode()
    return _Letter(
        target=target,
        path=request.path,
        headers=lines.encode("latin-1"),
        body=_with_params(encoded, params),
    )


def _with_params(body: bytes, params: Params | None) -> bytes:
    """A body with kv_transfer_params at its end, without making its prompt anew."""
    if params is None:
        return body
    encoded = json.dumps(dict(params), separators=(",", ":")).encode()
    return body[:-1] + b',"kv_transfer_params":' + encoded + b"}"


def _answered(prefill: Answer) -> tuple[str | None, Params | None]:
    """What is wrong with prefill's answer, and its kv_transfer_params."""
    if prefill.error is not None:
        return prefill.error, None
    try:
        body: Any = json.loads(prefill.body)
    except ValueError:
        body = None
    if prefill.status != _OK or not isinstance(body, dict):
        return f"status {prefill.status}: {prefill.body[:300].decode(errors='replace')}", None
    return None, body.get("kv_transfer_params")


def journeys(asks: Sequence[Ask], ways: Sequence[Way], timeout_s: float) -> list[Journey]:
    """One for each, over ``ways`` in turn."""
    return [Journey.of(ask, ways[ask.number % len(ways)], timeout_s) for ask in asks]
