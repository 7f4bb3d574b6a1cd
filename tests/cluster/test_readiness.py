from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pdtest.cluster.readiness import until_ready
from pdtest.services.service import Probe

#: Answers in turn; the last one stays.
ANSWERS = [
    (503, json.dumps({"detail": "no decode instance has\nregistered"})),
    (500, ""),
    (404, "x" * 300),
    (204, ""),
    (200, "ready, and more than that"),
]


class Handler(BaseHTTPRequestHandler):
    turn = 0

    def do_GET(self) -> None:
        status, body = ANSWERS[min(type(self).turn, len(ANSWERS) - 1)]
        type(self).turn += 1
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Handler.turn = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/health"
        server.shutdown()


async def test_a_refusal_is_noted_with_its_words(url: str) -> None:
    noted: list[str] = []
    await until_ready(Probe(url=url), api_key=None, note=noted.append)
    assert noted == [
        'HTTP 503: {"detail": "no decode instance has\\nregistered"}',
        "HTTP 500",
        f"HTTP 404: {'x' * 200}",
        "HTTP 204",
        "HTTP 200",
    ]
