"""Members come and go as a router wants: what is started, what is left alone, what goes wrong."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Role
from pdtest.errors import PdtestError
from pdtest.events.record import Event
from pdtest.routing.scaler import Scaler
from pdtest.routing.wants import NotScaling

_PATIENCE_S = 20.0


@dataclass
class World:
    """A router and its engines, each at a port: what they answer, and what they were asked."""

    ports: list[int] = field(default_factory=list)
    wanted: dict[str, int] = field(default_factory=lambda: {"decode": 1})
    most: int = 3
    listed: dict[str, list[str]] = field(default_factory=dict)
    #: Requests that engines have under way.
    running: int = 0
    scaling: bool = True
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, str]:
        if path.endswith("/metrics"):
            return 200, f"vllm:num_requests_running {self.running}\n"
        if path == "/scaling" and self.scaling:
            return 200, json.dumps(
                {
                    role: {"now": 1, "wanted": count, "least": 1, "most": self.most}
                    for role, count in self.wanted.items()
                }
            )
        if path == "/instances":
            return 200, json.dumps({f"{role}_instances": urls for role, urls in self.listed.items()})
        if method == "POST" and path.startswith("/instances/"):
            known = self.listed.setdefault(body["type"], [])
            for url in body["instances"]:
                (known.append if path.endswith("add") else known.remove)(url)
            return 200, "{}"
        return 404, "{}"


@pytest.fixture
def world() -> Iterator[World]:
    made = World()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply("GET", {})

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            self._reply("POST", json.loads(self.rfile.read(length) or b"{}"))

        def _reply(self, method: str, body: dict[str, Any]) -> None:
            status, text = made.answer(method, self.path, body)
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(4)]
    made.ports = [server.server_port for server in servers]
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,)) for server in servers]
    for thread in threads:
        thread.start()
    yield made
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Engine:
    name: str
    port: int
    role: Role = Role.DECODE
    standby: bool = True
    alive: bool = False
    api_key: str | None = None
    died: None = None
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def placement(self) -> Any:
        return SimpleNamespace(member=SimpleNamespace(standby=self.standby))


def cluster(world: World) -> Cluster:
    """A decode that runs, two on standby, and the proxy."""
    first, second, third, router = world.ports
    members = {
        "decode": Engine("decode", first, standby=False, alive=True),
        "decode-2": Engine("decode-2", second),
        "decode-3": Engine("decode-3", third),
        "proxy": Engine("proxy", router, role=Role.PROXY, standby=False, alive=True),
    }
    world.listed["decode"] = [f"127.0.0.1:{first}"]

    def restart(name: str) -> None:
        if name in world.broken:
            raise PdtestError(f"{name} does not start")
        world.started.append(name)
        members[name].alive = True

    def stop(names: list[str]) -> None:
        world.stopped += names
        for name in names:
            members[name].alive = False

    environment = SimpleNamespace(
        name="mine",
        model=SimpleNamespace(name="tiny"),
        thresholds=SimpleNamespace(request_timeout_s=5.0),
        members={name: SimpleNamespace(service="embedded-proxy", args={}) for name in members},
    )
    made: Any = SimpleNamespace(environment=environment, members=members, restart=restart, stop=stop)
    return cast("Cluster", made)


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_more_is_started_and_ended_when_it_is_idle(world: World) -> None:
    told: list[Event] = []
    with Scaler(cluster(world), "proxy", tell=told.append) as scaler:
        world.wanted["decode"], world.running = 2, 1
        until(lambda: len(scaler.done) == 1)
        world.wanted["decode"] = 1
        until(lambda: len(world.listed["decode"]) == 1)
        # It still has a request.
        time.sleep(0.6)
        assert world.stopped == []
        world.running = 0
        until(lambda: len(scaler.done) == 2)
        assert world.stopped == ["decode-2"]

    assert world.started == ["decode-2"]
    assert [(one.event.change, one.event.now, one.event.left) for one in scaler.done] == [
        ("added", 2, ""),
        ("removed", 1, ""),
    ]
    assert [one.event for one in scaler.done] == told
    assert {one.wants[Role.DECODE].wanted for one in scaler.heard} >= {1, 2}


def test_never_beyond_the_bounds_nor_those_that_stand(world: World) -> None:
    world.wanted["decode"], world.most = 9, 2
    with Scaler(cluster(world), "proxy", tell=lambda _: None) as scaler:
        until(lambda: len(scaler.heard) > 4)
        world.wanted["decode"] = 0
        until(lambda: world.stopped == ["decode-2"])
        heard = len(scaler.heard)
        until(lambda: len(scaler.heard) > heard + 2)

    assert world.started == world.stopped == ["decode-2"]
    assert not all(one.wants[Role.DECODE].within for one in scaler.heard)
    assert world.listed["decode"] == [f"127.0.0.1:{world.ports[0]}"]


def test_what_was_started_is_on_standby_again_at_the_end(world: World) -> None:
    world.wanted["decode"] = 9
    world.most = 9
    with Scaler(cluster(world), "proxy", tell=lambda _: None) as scaler:
        until(lambda: len(world.started) == 2)
        # Nobody else is there to start.
        until(lambda: scaler.short == {Role.DECODE})

    assert world.stopped == ["decode-3", "decode-2"]
    assert len(world.listed["decode"]) == 1


def test_work_that_does_not_end_is_told(world: World) -> None:
    world.wanted["decode"] = 2
    with Scaler(cluster(world), "proxy", tell=lambda _: None, drain_s=0.3) as scaler:
        until(lambda: len(scaler.done) == 1)
        world.running = 3
    assert scaler.done[-1].event.left == "running: 3"
    assert world.stopped == ["decode-2"]


def test_a_start_that_fails_is_raised_and_the_rest_goes_on_standby(world: World) -> None:
    world.wanted["decode"], world.broken = 3, {"decode-3"}
    scaler = Scaler(cluster(world), "proxy", tell=lambda _: None)
    with pytest.raises(PdtestError, match="decode-3 does not start"), scaler:
        until(lambda: world.stopped == ["decode-2"])
    assert len(world.listed["decode"]) == 1


def test_a_router_that_says_nothing_is_named(world: World) -> None:
    world.scaling = False
    scaler = Scaler(cluster(world), "proxy", tell=lambda _: None)
    with pytest.raises(NotScaling, match="how many instances it wants"), scaler:
        until(scaler.check)
