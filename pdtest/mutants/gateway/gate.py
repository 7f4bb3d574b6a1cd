"""One side of the gateway: an ASGI application before one upstream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any, Final

import httpx

from pdtest.mutants.gateway.bug import Body, Bug, Side
from pdtest.mutants.gateway.switch import Switch

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: Of a connection, not of a message; the length is said anew.
_HOP: Final = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"host", b"content-length"})


class Gate:
    """Passes on everything as it is, byte for byte, where the bug of the moment does not interfere."""

    def __init__(self, side: Side, upstream: str, switch: Switch, http: httpx.AsyncClient) -> None:
        self._side, self._upstream, self._switch, self._http = side, upstream, switch, http

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; a client that leaves takes its request with it."""
        content = await _content(receive)
        work = asyncio.create_task(self._answer(scope, content, send))
        gone = asyncio.create_task(_left(receive))
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        for task in (work, gone):
            task.cancel()
        await asyncio.wait((work, gone))
        if not work.cancelled():
            work.result()

    async def _answer(self, scope: MutableMapping[str, Any], content: bytes, send: Send) -> None:
        asked = _asked(scope, content)
        bug = Bug()
        if asked is not None:
            bug = self._switch.read()
            ripe = self._switch.count() if self._side is Side.FRONT else self._switch.ripe
            bug = bug if ripe else Bug()
            changed = bug.ask(self._side, dict(asked))
            content = content if changed == asked else json.dumps(changed).encode()
        if self._side in bug.twice:
            async with self._sent(scope, content) as first:
                await first.aread()
        try:
            async with self._sent(scope, content) as reply:
                await self._pass(reply, bug, asked or {}, send)
        except httpx.TransportError as error:
            await _send_whole(send, 502, [(b"content-type", b"text/plain")], str(error).encode())

    def _sent(self, scope: MutableMapping[str, Any], content: bytes) -> Any:
        url = (
            self._upstream
            + scope["path"]
            + (f"?{scope['query_string'].decode()}" * bool(scope["query_string"]))
        )
        # Blanks around a value are no part of it (RFC 9110, 5.5), and h11 refuses them: vllm-router 0.1.17
        # sends "Bearer " where it has no key.
        headers = [(name, value.strip()) for name, value in scope["headers"] if name.lower() not in _HOP]
        return self._http.stream(scope["method"], url, headers=headers, content=content)

    async def _pass(self, reply: httpx.Response, bug: Bug, asked: Body, send: Send) -> None:
        headers = [(name.lower(), value) for name, value in reply.headers.raw if name.lower() not in _HOP]
        streamed = "text/event-stream" in reply.headers.get("content-type", "")
        if not streamed and self._side in bug.answers:
            status, content = bug.answer(self._side, asked, reply.status_code, await reply.aread())
            await _send_whole(send, status, headers, content)
            return
        pieces = reply.aiter_raw()
        if streamed and self._side in bug.streams:
            pieces = bug.events(_events(pieces))
        else:
            headers += [
                (b"content-length", size.encode()) for size in reply.headers.get_list("content-length")
            ]
        await send({"type": "http.response.start", "status": reply.status_code, "headers": headers})
        async with aclosing(pieces) as sent:  # type: ignore[type-var]
            async for piece in sent:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _content(receive: Receive) -> bytes:
    pieces, more = [], True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _asked(scope: MutableMapping[str, Any], content: bytes) -> Body | None:
    """The body of a request for tokens; None of all others."""
    if scope["method"] != "POST" or not scope["path"].endswith("/completions"):
        return None
    try:
        body = json.loads(content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Each with the empty line behind it, whatever the pieces it came in."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n\n")
        for event in whole:
            yield event + b"\n\n"
    if rest:
        yield rest


async def _send_whole(send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    sized = [*headers, (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": content})
