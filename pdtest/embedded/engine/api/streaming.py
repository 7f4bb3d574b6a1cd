"""Answers on the wire, whole or as server-sent events, with an eye on the client.

Plain ASGI: a chunk costs tens of microseconds here and would cost a multiple in a response class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from starlette.types import Receive, Send

from pdtest.embedded.engine.api.choice import Choice, Delta
from pdtest.embedded.engine.api.encoding import compact, encoded
from pdtest.embedded.engine.api.errors import ApiError
from pdtest.embedded.engine.api.generation import Disconnected, Generation

_EVENTS: Final = [(b"content-type", b"text/event-stream; charset=utf-8")]
_DONE: Final = b"data: [DONE]\n\n"


class Form(Protocol):
    """The shape of an answer. Parts of a stream are complete events."""

    def whole(self) -> dict[str, Any]:
        """All of it, when the generation is done."""
        ...

    def opening(self) -> str:
        """What comes before the first token."""
        ...

    def chunk(self, choice: Choice, delta: Delta) -> str:
        """One step."""
        ...

    def closing(self) -> str:
        """What comes after the last token."""
        ...


def event(data: str) -> str:
    """A server-sent event."""
    return f"data: {data}\n\n"


async def answer(generation: Generation, form: Form, *, stream: bool, receive: Receive, send: Send) -> None:
    """Submit ``generation`` and send what comes of it. A client that leaves ends it, at whatever stage.

    Raises ApiError as long as nothing was sent.
    """
    watch = asyncio.create_task(_watch(receive, generation.leave))
    try:
        generation.submit()
        await (_stream if stream else _whole)(generation, form, send)
    except Disconnected:
        pass
    finally:
        watch.cancel()
        generation.abort()


async def send_json(send: Send, value: Any, *, status: int = 200) -> None:
    """A whole answer in JSON."""
    content = encoded(compact(value))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _watch(receive: Receive, left: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    left()


async def _whole(generation: Generation, form: Form, send: Send) -> None:
    while not generation.done:
        await generation.deltas()
    await send_json(send, form.whole())


async def _stream(generation: Generation, form: Form, send: Send) -> None:
    """The status goes out with the first token, so that a request that fails before has one that says so."""
    deltas = await generation.deltas()
    await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
    text = form.opening()
    try:
        while True:
            text += "".join([form.chunk(choice, delta) for choice, delta in deltas])
            if generation.done:
                break
            await _send_part(send, encoded(text))
            text = ""
            deltas = await generation.deltas()
        text += form.closing()
    except ApiError as error:
        text += event(compact(error.body()))
    await send({"type": "http.response.body", "body": encoded(text) + _DONE})


def _send_part(send: Send, content: bytes) -> Awaitable[None]:
    return send({"type": "http.response.body", "body": content, "more_body": True})
