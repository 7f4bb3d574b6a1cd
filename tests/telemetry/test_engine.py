from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from pdtest.telemetry.engine import EngineMeter
from pdtest.telemetry.settings import Engine

TEXT = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total{engine="0",model_name="m"} 1200.0
# TYPE vllm:generation_tokens counter
vllm:generation_tokens_total{engine="0",model_name="m"} 340.0
# TYPE vllm:num_preemptions counter
vllm:num_preemptions_total{engine="0",model_name="m"} 0.0
# TYPE vllm:e2e_request_latency_seconds histogram
vllm:e2e_request_latency_seconds_bucket{engine="0",le="0.3",model_name="m"} 7.0
"""


@dataclass
class Server:
    """An engine's HTTP server, answering on a real socket."""

    text: str = TEXT
    status: int = 200
    hang_up: bool = False
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    connections: int = 0
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            told.connections += 1
            super().setup()

        def do_GET(self) -> None:
            told.keys.append(self.headers.get("Authorization"))
            told.paths.append(self.path)
            body = told.text.encode()
            self.send_response(told.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = told.hang_up

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        told.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield told
        listening.shutdown()
        thread.join()


@contextmanager
def meter(server: Server, **how: str) -> Iterator[EngineMeter]:
    one = EngineMeter(Engine(member="decode", url=server.url, **how), 1.0)
    yield one
    one.close()


def test_ranks_are_summed_and_the_fullest_cache_counts(server: Server) -> None:
    with meter(server) as one:
        (offer,) = one.open()
        assert (offer.name, offer.kind, offer.members) == ("decode", "member", ("decode",))
        seen = one.read()["decode"]
    assert seen.values == {
        "kv_usage": 0.75,
        "running": 7.0,
        "waiting": 1.0,
        "prompt_tokens": 1200.0,
        "generation_tokens": 340.0,
        "preemptions": 0.0,
    }
    assert seen.missing == {}


def test_one_connection_serves_all_readings(server: Server) -> None:
    with meter(server) as one:
        for _ in range(5):
            one.read()
    assert server.connections == 1
    assert server.keys == [None] * 5


def test_a_connection_that_the_engine_closed_is_made_anew(server: Server) -> None:
    server.hang_up = True
    with meter(server) as one:
        for _ in range(3):
            assert one.read()["decode"].values["running"] == 7.0
    assert server.connections == 3


def test_the_key_and_the_path_below_which_it_serves(server: Server) -> None:
    server.url += "/engines/7/"
    with meter(server, api_key="secret") as one:
        one.read()
    assert server.keys == ["Bearer secret"]
    assert server.paths == ["/engines/7/metrics"]
    assert "secret" not in repr(Engine(member="decode", url=server.url, api_key="secret"))


def test_what_is_not_exported_is_missing_not_zero(server: Server) -> None:
    server.text = TEXT.partition("# TYPE vllm:kv_cache")[0]
    with meter(server) as one:
        seen = one.read()["decode"]
    assert set(seen.values) == {"running", "waiting"}
    assert seen.missing["kv_usage"] == f"{server.url}/metrics does not export vllm:kv_cache_usage_perc"


def test_another_answer_is_said(server: Server) -> None:
    server.status = 401
    with meter(server) as one, pytest.raises(LookupError, match="answers 401 Unauthorized"):
        one.read()


def test_an_engine_that_is_away_is_no_reading(server: Server) -> None:
    server.url = "http://127.0.0.1:1"
    with meter(server) as one, pytest.raises(ConnectionRefusedError):
        one.read()
