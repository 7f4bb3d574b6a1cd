"""A server whose answers come when they are meant to, to measure the error of a client with.

``python -m pdtest.load.calibration --port 9000``. POST to ``/v1/completions`` is answered with a stream of
events: the first ``--ttft`` seconds after the request, each further one ``--gap`` seconds later, as many as
``max_tokens`` says. A request may ask for another manner under the key ``calibration``, see `Manner`.
One that wants no stream is answered after ``--ttft`` seconds, with kv_transfer_params, as prefill does.
GET ``/stamps`` tells, by ``X-Request-Id``, when each request was received and each event was written: seconds
of CLOCK_MONOTONIC, which all processes of a host share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, cast

import httptools

from pdtest.load.descriptors import allow_all

_HEADERS: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_DONE: Final = b"data: [DONE]\n\n"
_EMPTY: Final = b'data: {"id":"calibration","object":"text_completion","choices":[{"index":0,"text":""}]}\n\n'
_TOKEN: Final = (
    b'data: {"id":"calibration","object":"text_completion","created":0,"model":"calibration","choices":'
    b'[{"index":0,"text":" a","logprobs":null,"finish_reason":null,"token_ids":[7]}],"usage":null}\n\n'
)
_LAST: Final = _TOKEN.replace(b'"finish_reason":null', b'"finish_reason":"length"')


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How an answer is given.

    ``ttft_s`` and ``gap_s``: see above. ``together``: events in one write. ``empty_first``: an event without
    a token precedes, at once, as the one that tells the role in chats. ``breaks_after``: so many events, and
    then the connection is closed; 0: at the end.
    """

    ttft_s: float = 0.05
    gap_s: float = 0.01
    together: int = 1
    empty_first: bool = False
    breaks_after: int = 0


@dataclass
class Stamps:
    """Seconds of CLOCK_MONOTONIC. ``params``: the request's kv_transfer_params."""

    received: float
    written: list[float] = field(default_factory=list)
    params: Any = None


class Server:
    """Answers in one manner, and keeps the stamps of all requests."""

    def __init__(self, manner: Manner) -> None:
        self.manner = manner
        self.stamps: dict[str, Stamps] = {}


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Some of a request."""
        self._at = time.monotonic()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the transport's signature
        """Nobody listens any more."""
        if self._timer is not None:
            self._timer.cancel()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._path, self._id, self._body = b"", "", b""

    def on_url(self, url: bytes) -> None:
        """Its path."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if name.lower() == b"x-request-id":
            self._id = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Some of its body."""
        self._body += body

    def on_message_complete(self) -> None:
        """The end of it: the answer begins."""
        if self._path == b"/stamps":
            self._plain({name: asdict(stamps) for name, stamps in self._server.stamps.items()})
        elif self._path in (b"/health", b"/v1/models"):
            self._plain({"object": "list", "data": [{"id": "calibration", "object": "model"}]})
        else:
            self._answer(json.loads(self._body))

    def _answer(self, body: dict[str, Any]) -> None:
        self._manner = replace(self._server.manner, **body.get("calibration", {}))
        self._tokens, self._prompt = int(body["max_tokens"]), len(body["prompt"])
        stamps = Stamps(self._at, params=body.get("kv_transfer_params"))
        self._begun = self._loop.time()
        first = self._begun + self._manner.ttft_s
        if not body.get("stream"):
            self._timer = self._loop.call_at(first, self._plain, _unstreamed(body))
            return
        self._stamps = self._server.stamps[self._id] = stamps
        if self._manner.empty_first:
            self._transport.write(_HEADERS + _chunk(_EMPTY))
        else:
            self._transport.write(_HEADERS)
        self._timer = self._loop.call_at(first, self._write)

    def _write(self) -> None:
        written, manner = self._stamps.written, self._manner
        events: list[bytes] = []
        for _ in range(manner.together):
            if len(written) + len(events) < self._tokens:
                events.append(_LAST if len(written) + len(events) + 1 == self._tokens else _TOKEN)
        chunk = b"".join(map(_chunk, events)) if len(events) > 1 else _CHUNKS[events[0]]
        written += [time.monotonic()] * len(events)
        self._transport.write(chunk)
        if manner.breaks_after and len(written) >= manner.breaks_after:
            self._transport.close()
        elif len(written) < self._tokens:
            step = len(written) // manner.together
            self._timer = self._loop.call_at(self._begun + manner.ttft_s + step * manner.gap_s, self._write)
        else:
            self._transport.write(_chunk(self._usage()) + _chunk(_DONE) + b"0\r\n\r\n")

    def _usage(self) -> bytes:
        usage = {"prompt_tokens": self._prompt, "completion_tokens": self._tokens}
        return b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"

    def _plain(self, content: Any) -> None:
        body = json.dumps(content).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


def _unstreamed(body: Mapping[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "text": " a", "finish_reason": "length"}
    return {"choices": [choice], "kv_transfer_params": {"asked": body.get("kv_transfer_params")}}


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


_CHUNKS: Final = {event: _chunk(event) for event in (_TOKEN, _LAST)}


async def serve(manner: Manner, host: str, port: int, certificate: str | None = None) -> None:
    """Serve until cancelled. Says on stdout where. ``certificate``: a PEM file with its key, for TLS."""
    server, loop, tls = Server(manner), asyncio.get_running_loop(), None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    listener = await loop.create_server(lambda: _Connection(server), host, port, backlog=4096, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    sys.stdout.write(f"{'https' if tls else 'http'}://{host}:{port}\n")
    sys.stdout.flush()
    await listener.serve_forever()


def main() -> None:
    """Ctrl-C and SIGTERM end it."""
    import uvloop

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: a free one, told on stdout")
    parser.add_argument("--ttft", type=float, default=Manner.ttft_s, help="seconds")
    parser.add_argument("--gap", type=float, default=Manner.gap_s, help="seconds")
    parser.add_argument("--together", type=int, default=1, help="events in one write")
    parser.add_argument("--empty-first", action="store_true", help="an event without a token comes first")
    parser.add_argument("--breaks-after", type=int, default=0, help="events, and then the connection closes")
    parser.add_argument("--certificate", help="PEM file with certificate and key, for TLS")
    options = parser.parse_args()
    manner = Manner(
        ttft_s=options.ttft,
        gap_s=options.gap,
        together=options.together,
        empty_first=options.empty_first,
        breaks_after=options.breaks_after,
    )
    allow_all()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(manner, options.host, options.port, options.certificate))
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
