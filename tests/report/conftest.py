from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from pdtest.client.answer import Answer, Choice, Timings, Usage
from pdtest.client.errors import Call, HttpStatusError
from pdtest.client.handoff import Ending, Handoff, Hop, Route
from pdtest.client.request import Request
from pdtest.cluster.abroad import Hosts
from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Connector, Environment, Member, Model
from pdtest.events import Journal
from pdtest.launch.lease import PortLeases
from pdtest.launch.registry import launchers
from pdtest.services.registry import services

ClusterOf = Callable[..., Cluster]


@dataclass
class Double:
    """A server that answers like an engine, and remembers what it was asked.

    ``params``: the kv_transfer_params of its answers; `{n}` in a text becomes the number of the request.
    ``status`` other than 200: every answer is that error, and no JSON.
    """

    params: Mapping[str, Any] | None = None
    status: int = 200
    asked: list[tuple[str, Mapping[str, str], dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, _, body in self.asked]

    @property
    def request_ids(self) -> list[str]:
        return [headers["x-request-id"] for _, headers, _ in self.asked]

    def answer(self, body: dict[str, Any]) -> bytes:
        if self.status != 200:
            return b"Internal Server Error"
        if body["stream"]:
            return b'data: {"choices": []}\n\ndata: [DONE]\n\n'
        filled = json.dumps(self.params).replace("{n}", str(len(self.asked)))
        return json.dumps({"choices": [], "kv_transfer_params": json.loads(filled)}).encode()


def _handler(double: Double) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            double.asked.append((self.path, headers, body))
            answer = double.answer(body)
            self.send_response(double.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.fixture
def serve() -> Iterator[Callable[..., Double]]:
    servers: list[ThreadingHTTPServer] = []

    def serve(**settings: Any) -> Double:
        double = Double(**settings)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(double))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        double.url = f"http://127.0.0.1:{server.server_address[1]}"
        return double

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def cluster_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterOf]:
    """A cluster whose members are attached to, so that nothing runs. By name: role, url, and the like."""
    journal = Journal(tmp_path / "events.jsonl")

    def cluster_of(members: Mapping[str, Mapping[str, Any]]) -> Cluster:
        environment = Environment(
            name="made up",
            model=Model(path="none", served_name="tiny", dtype="float32", block_size=32, max_model_len=64),
            connector=Connector(contract=("nixl",)),
            members={
                name: Member.model_validate({"service": "vllm", "launcher": "attach"} | dict(settings))
                for name, settings in members.items()
            },
        )
        cluster = Cluster(
            environment,
            tmp_path / "run",
            services=services(),
            launchers=launchers(),
            journal=journal,
            owner="test",
        )
        with start_blocking_portal() as portal:
            cluster._members = cluster._place(PortLeases("test"), Hosts(environment, portal))
        for member in cluster.members.values():
            member.log.path.parent.mkdir(parents=True)
            member.log.path.touch()
        return cluster

    yield cluster_of
    journal.close()


def hop(member: str, *, sent: Any = None, answered: Any = None, error: int | None = None) -> Hop:
    """A hop that got an answer, or the HTTP status ``error``."""
    call = Call(member=member, method="POST", url=f"http://{member}/v1/completions", timeout_s=60.0)
    return Hop(
        member=member,
        sent=sent,
        started_s=0.0,
        ended_s=0.25,
        answer=None if error else _answer(member, answered),
        error=HttpStatusError(call, status=error, body="engine is dead") if error else None,
    )


def by_client(request: Request | None = None, request_id: str = "id-1", **settings: Any) -> Handoff:
    """A handoff over `prefill` and `decode`, as NIXL has it, unless ``settings`` say otherwise."""
    answered = {"do_remote_prefill": True, "remote_block_ids": [[1, 2]], "remote_engine_id": "old"}
    usual: dict[str, Any] = {
        "route": Route.CLIENT,
        "contract": "nixl",
        "ending": Ending.ANSWERED,
        "prefill": hop("prefill", sent={"do_remote_decode": True, "remote_host": None}, answered=answered),
        "decode": hop("decode", sent=answered),
    }
    return Handoff(request=request or Request.tokens([1, 2, 3]), request_id=request_id, **usual | settings)


def _answer(member: str, params: Any) -> Answer:
    return Answer(
        member=member,
        request_id="id",
        status=200,
        model="tiny",
        choices=(Choice(index=0, text="", finish_reason="length"),),
        usage=Usage(prompt_tokens=3, completion_tokens=16),
        timings=Timings(sent_at=0.0, first_byte_s=0.1, total_s=0.25),
        kv_transfer_params=params,
    )
