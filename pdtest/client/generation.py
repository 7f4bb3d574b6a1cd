"""From the reply to a generation request to its answer, streamed or whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pdtest.client.answer import Answer, Arrival, Timings
from pdtest.client.errors import BrokenStream, Call, HttpStatusError, MalformedAnswer
from pdtest.client.openai import Shapeless, read
from pdtest.client.stream import Assembly, EventParser, TornStream

if TYPE_CHECKING:
    from pdtest.client.exchange import Reply
    from pdtest.client.request import Request

_OK = 200
_KEPT_HEADERS = frozenset({"content-type", "server"})


class Generation:
    """Reads the reply to one request while it comes in."""

    def __init__(self, call: Call, request: Request, reply: Reply) -> None:
        self._call = call
        self._request = request
        self._reply = reply
        self._events = EventParser()
        self._assembly = Assembly(n=request.n)

    def consume(self, piece: bytes, at_s: float) -> None:
        """A piece of a stream. Raises BrokenStream and MalformedAnswer as soon as they show."""
        if self._request.stream:
            self._add(self._events.feed(piece), at_s)

    def answer(self) -> Answer:
        """The answer, once the reply is complete.

        Raises HttpStatusError, BrokenStream and MalformedAnswer.
        """
        reply = self._reply
        if reply.status != _OK:
            raise HttpStatusError(self._call, status=reply.status or 0, body=reply.text)
        body = self._streamed() if self._request.stream else self._whole()
        try:
            parts = read(body, is_chat=self._request.is_chat)
        except Shapeless as error:
            raise self._malformed(str(error)) from error
        return self._made_of(body, parts)

    def _made_of(self, body: dict[str, Any], parts: dict[str, Any]) -> Answer:
        reply = self._reply
        return Answer(
            member=self._call.member,
            request_id=self._call.request_id or "",
            status=_OK,
            timings=Timings(
                sent_at=reply.sent_at,
                first_byte_s=reply.first_byte_s,
                total_s=reply.total_s,
                arrivals=self._arrivals(),
            ),
            headers={key: value for key, value in reply.headers.items() if _is_kept(key)},
            raw=body,
            **parts,
        )

    def _arrivals(self) -> tuple[Arrival, ...]:
        return tuple(self._assembly.arrivals)

    def _whole(self) -> dict[str, Any]:
        try:
            body = json.loads(self._reply.content)
        except ValueError as error:
            raise self._malformed(f"not JSON: {error}") from error
        if not isinstance(body, dict):
            raise self._malformed("not an object")
        return body

    def _streamed(self) -> dict[str, Any]:
        try:
            for event in self._events.close():
                self._assembly.add(event, self._reply.total_s)
            return self._assembly.body()
        except TornStream as error:
            raise self._broken(str(error)) from error
        except ValueError as error:
            # The last event has no end, so it is cut off rather than malformed.
            raise self._broken(f"it ended in the middle of an event: {error}") from error

    def _add(self, events: list[str], at_s: float) -> None:
        for event in events:
            try:
                self._assembly.add(event, at_s)
            except TornStream as error:
                raise self._broken(str(error)) from error
            except ValueError as error:
                raise self._malformed(f"in the stream: {error}") from error

    def _malformed(self, reason: str) -> MalformedAnswer:
        return MalformedAnswer(self._call, reason=reason, status=_OK, body=self._reply.text)

    def _broken(self, reason: str) -> BrokenStream:
        return BrokenStream(self._call, reason=reason, status=_OK, body=self._reply.text)


def _is_kept(header: str) -> bool:
    return header in _KEPT_HEADERS or header.startswith("x-")
