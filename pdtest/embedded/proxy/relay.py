"""Requests for tokens: led through both legs, and decode's answer passed on as it comes.

Plain ASGI, since every layer in between would cost each chunk.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.types import Message, Receive, Scope, Send

from pdtest.embedded.connections import Broken, described
from pdtest.embedded.proxy.errors import Failure
from pdtest.embedded.proxy.legs import Decoding
from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.work import Outcome

log = logging.getLogger(__name__)


#: They belong to one connection, and not to the answer (RFC 9110, 7.6.1).
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
#: What logs and counters call a request whose client has gone.
CLIENT_GONE = 499


class Relay:
    """The endpoint of one path. ``tell`` hears the status of each request."""

    def __init__(
        self,
        *,
        lead: Callable[[ClientRequest], Awaitable[Decoding]],
        tell: Callable[[str, int], None],
        most_bytes: int,
        key: str | None,
        session_header: str,
    ) -> None:
        self._lead = lead
        self._tell = tell
        self._most_bytes = most_bytes
        self._key = key
        self._session_header = session_header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. The client's disconnection cancels whatever is under way."""
        path = scope["path"]
        try:
            content = await body_of(receive, self._most_bytes)
            if content is None:
                return
            request = ClientRequest.parse(
                path, scope["headers"], content, key=self._key, session_header=self._session_header
            )
        except Failure as failure:
            await _fail(failure, None, send)
            self._tell(path, failure.status)
            return
        serving = asyncio.create_task(self._serve(request, send))
        leaving = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((serving, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not serving.done():
                serving.cancel()
                await asyncio.wait((serving,))
        self._tell(path, CLIENT_GONE if serving.cancelled() else serving.result())

    async def _serve(self, request: ClientRequest, send: Send) -> int:
        try:
            decoding = await self._lead(request)
        except Failure as failure:
            await _fail(failure, request, send)
            return failure.status
        try:
            outcome = await _pass_on(decoding, request, send)
        except BaseException:
            decoding.end(Outcome.ABORTED)
            raise
        decoding.end(outcome)
        return decoding.status


async def body_of(receive: Receive, most_bytes: int) -> bytes | None:
    """A request's body, or None when the client went away. Raises Failure, 413."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > most_bytes:
            raise Failure(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body has more than {most_bytes} bytes; --max-body-bytes allows no more",
            )
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _pass_on(decoding: Decoding, request: ClientRequest, send: Send) -> Outcome:
    """The answer, chunk by chunk. A body that breaks off never ends well for the client either."""
    await send(_start(decoding, request))
    last = b""
    try:
        while chunk := await decoding.read():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            last = chunk
    except Broken as error:
        reason = f"decode leg: {decoding.decode.address} broke off in mid-answer ({described(error)})"
        log.warning("%s: %s", request.request_id, reason)
        if decoding.response.header(b"content-type").startswith("text/event-stream"):
            event = _error_event(reason, torn=bool(last) and not last.endswith(b"\n\n"))
            await send({"type": "http.response.body", "body": event, "more_body": False})
        # Else the response is left incomplete, and the server cuts the connection.
        return Outcome.FAILED
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return Outcome.DONE


def _start(decoding: Decoding, request: ClientRequest) -> Message:
    headers = [header for header in decoding.response.headers if header[0] not in _HOP_BY_HOP]
    if not any(name == b"x-request-id" for name, _ in headers):
        headers.append((b"x-request-id", request.request_id.encode("latin-1")))
    headers.append((b"x-pdtest-decode", decoding.decode.address.encode("latin-1")))
    if decoding.prefill is not None:
        headers.append((b"x-pdtest-prefill", decoding.prefill.address.encode("latin-1")))
        if decoding.prefill.overloaded:
            headers.append((b"x-pdtest-overload", b"1"))
    headers.append((b"x-pdtest-path", decoding.path.encode()))
    return {"type": "http.response.start", "status": decoding.status, "headers": headers}


def _error_event(reason: str, *, torn: bool) -> bytes:
    """What vLLM sends when it fails in mid-stream. Not followed by [DONE]."""
    error = {"message": reason, "type": "BadGatewayError", "param": None, "code": int(HTTPStatus.BAD_GATEWAY)}
    return (b"\n\n" if torn else b"") + b"data: " + json.dumps({"error": error}).encode() + b"\n\n"


async def _fail(failure: Failure, request: ClientRequest | None, send: Send) -> None:
    body = failure.body
    headers = [
        (b"content-type", failure.content_type.encode("latin-1")),
        (b"content-length", str(len(body)).encode()),
    ]
    if request is not None:
        headers.append((b"x-request-id", request.request_id.encode("latin-1")))
    await send({"type": "http.response.start", "status": failure.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
