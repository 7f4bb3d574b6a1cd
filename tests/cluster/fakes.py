"""Fake members: processes that do what a test says. The controller imports this too, so no pytest here."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Connector, Environment, Host, Member, Model
from pdtest.events import Journal
from pdtest.launch.kin import OWNER_VARIABLE, Kin
from pdtest.launch.registry import launchers
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage

PROGRAM = Path(__file__).with_name("member_program.py")


class Script(BaseModel):
    """What a fake member does: the `options` of the fake service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    says: tuple[str, ...] = ()
    loads_s: float = 0.0
    meets: tuple[str, ...] = ()
    exits: int | None = None
    ignores_sigterm: bool = False
    daemon: bool = False


class FakeService:
    name = "fake"
    options_type: type[BaseModel] = Script
    log_files: tuple[str, ...] = ("further.log",)
    log_rules = LogRules(error=re.compile("ERROR"), harmless=(re.compile("ERROR but harmless"),))
    stages: tuple[Stage, ...] = (
        Stage(pattern=re.compile("Loading weights"), doing="loading weights"),
        Stage(pattern=re.compile("Capturing graphs"), doing="capturing"),
    )
    diagnoses: tuple[Diagnosis, ...] = (
        Diagnosis(
            name="out-of-memory",
            pattern=re.compile("CUDA out of memory"),
            meaning="The GPU has too little free memory.",
            remedy="Lower gpu-memory-utilization.",
        ),
        Diagnosis(
            name="bad-model",
            pattern=re.compile("no such model"),
            meaning="The model is not there.",
            remedy="Correct model.path.",
        ),
    )

    def ports(self, member: Member) -> Mapping[str, int]:  # noqa: ARG002
        return {"http": 1, "side": 2}

    def render(self, placement: Placement) -> Command:
        script = Script.model_validate(placement.member.options)
        program = (sys.executable, "-S", "-E", str(PROGRAM))
        return Command(argv=(*program, str(placement.ports["http"]), script.model_dump_json()))

    def probe(self, placement: Placement) -> Probe:
        return Probe(url=f"{placement.url}/health")


def environment_of(
    members: Mapping[str, Mapping[str, Any]], hosts: Mapping[str, Any] | None = None
) -> Environment:
    """An environment of fake members. Each is given as its script, beside `role`, `ports` and the like."""
    fields = set(Member.model_fields)
    return Environment(
        name="fake",
        model=Model(path="none", dtype="float32", block_size=32, max_model_len=64),
        connector=Connector(contract=("nixl",)),
        hosts={name: Host.model_validate(host) for name, host in (hosts or {"local": {}}).items()},
        members={
            name: Member.model_validate(
                {"role": "decode", "service": "fake", "stop_timeout_s": 5.0}
                | {key: value for key, value in settings.items() if key in fields}
                | {"options": {key: value for key, value in settings.items() if key not in fields}}
            )
            for name, settings in members.items()
        },
    )


def cluster_of(
    members: Mapping[str, Mapping[str, Any]],
    directory: Path,
    owner: str,
    hosts: Mapping[str, Any] | None = None,
) -> Cluster:
    return Cluster(
        environment_of(members, hosts),
        directory,
        services={"fake": FakeService()},
        launchers=launchers(),
        journal=Journal(directory / "events.jsonl"),
        owner=owner,
    )


def until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


def survivors(owner: str) -> list[int]:
    return [process.pid for process in Kin({OWNER_VARIABLE: owner}).scan()]


class _Refusal(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


@contextmanager
def refusing_server() -> Iterator[str]:
    """The base URL of a server in this process that answers 503 to everything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusal) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
