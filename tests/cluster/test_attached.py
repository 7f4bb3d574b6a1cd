from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from pdtest.cluster.cluster import NotOurs
from pdtest.cluster.incident import StartFailed
from pdtest.cluster.plan import attached_to
from pdtest.launch.registry import launchers

from .conftest import Workshop
from .fakes import environment_of


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The URL of a server that answers any probe."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_that_is_not_there_is_told_within_seconds(workshop: Workshop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    cluster = workshop.cluster({"decode": {"launcher": "attach", "url": f"http://127.0.0.1:{port}"}})
    began = time.monotonic()
    with pytest.raises(StartFailed, match="decode was not ready within 5 s") as failed:
        cluster.start()
    assert time.monotonic() - began < 60  # ready_timeout_s is 600 by default
    assert "it runs;" not in str(failed.value)


def test_it_cannot_be_restarted_and_outlives_the_cluster(workshop: Workshop, elsewhere: str) -> None:
    cluster = workshop.cluster({"decode": {"launcher": "attach", "url": elsewhere}, "other": {}})
    cluster.start()
    with pytest.raises(NotOurs, match="decode cannot be started, stopped or broken"):
        cluster.restart("decode")
    assert cluster.members["decode"].alive
    cluster.stop()
    assert workshop.kinds("decode") == ["MemberStarting", "MemberReady"]


def test_they_are_known_before_anything_starts() -> None:
    environment = environment_of({"decode": {"launcher": "attach", "url": "http://x:1"}, "other": {}})
    assert attached_to(environment, launchers()) == ("decode",)
