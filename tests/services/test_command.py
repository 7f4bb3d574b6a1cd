from __future__ import annotations

from typing import Any

import pytest

from pdtest.environment.schema import Member, Role
from pdtest.services.command import CommandService
from pdtest.services.errors import RenderError
from pdtest.services.service import Probe

from .conftest import Place

COMMAND = CommandService()
STORE = {"role": Role.STORE}


def test_argv_then_args_with_references_to_itself_and_to_others(place: Place) -> None:
    settings = STORE | {
        "options": {"argv": ["mooncake_master", "--port", "${self.ports.rpc}"], "ports": ["rpc"]},
        "args": {"peer": "${members.decode.url}", "config": "${self.files.a.json}", "verbose": True},
        "env": {"DIR": "${self.dir}", "DROPPED": None},
        "files": {"a.json": {"http": "${self.ports.http}"}},
    }
    command = COMMAND.render(place(COMMAND, settings, name="store", others={"decode": {"role": Role.DECODE}}))
    assert command.argv == (
        *("mooncake_master", "--port", "8001"),
        *("--peer", "http://127.0.0.1:8100", "--config", "/run/members/store/a.json", "--verbose"),
    )
    assert command.env == {"DIR": "/run/members/store"}
    assert command.files == {"a.json": '{\n  "http": 8000\n}\n'}


@pytest.mark.parametrize("options", [{}, {"argv": []}])
def test_a_member_without_argv_cannot_be_started(options: dict[str, Any], place: Place) -> None:
    with pytest.raises(RenderError) as caught:
        COMMAND.render(place(COMMAND, STORE | {"options": options}, name="store"))
    assert str(caught.value) == (
        "cannot render: member 'store' has no command to run\n"
        "  where    members.store.options.argv\n"
        "  expected a list: the program and its first arguments\n"
        "  seen     nothing\n"
        "  next     add it, or set launcher: attach and a url if the program runs already"
    )


def test_an_attached_member_needs_no_argv(place: Place) -> None:
    attached = {"launcher": "attach", "url": "http://10.0.0.9:9003", "options": {"ready_path": "/metrics"}}
    placement = place(COMMAND, STORE | attached, name="store")
    assert COMMAND.ports(placement.member) == {"http": 1}
    assert COMMAND.probe(placement) == Probe(url="http://10.0.0.9:9003/metrics")


@pytest.mark.parametrize(
    ("options", "probe"),
    [
        ({}, Probe(url="http://127.0.0.1:8000/")),
        ({"ready_path": "/metrics"}, Probe(url="http://127.0.0.1:8000/metrics")),
        (
            {"ready_path": "http://${self.address}:${self.ports.metrics}/ok", "ports": ["metrics"]},
            Probe(url="http://127.0.0.1:8001/ok"),
        ),
        ({"ready_status": [200, 404]}, Probe(url="http://127.0.0.1:8000/", accept=frozenset({200, 404}))),
    ],
)
def test_where_it_is_probed_and_what_means_ready(options: dict[str, Any], probe: Probe, place: Place) -> None:
    settings = STORE | {"options": {"argv": ["x"]} | options}
    assert COMMAND.probe(place(COMMAND, settings, name="store")) == probe


def test_ports_are_http_and_those_under_options_and_ports() -> None:
    member = Member(
        role=Role.STORE, service="command", options={"argv": ["x"], "ports": ["rpc"]}, ports={"meta": 5000}
    )
    assert COMMAND.ports(member) == {"http": 1, "rpc": 1, "meta": 1}


def test_an_api_key_is_kept_secret_though_only_the_program_knows_its_flag(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "hunter2")
    settings = STORE | {"options": {"argv": ["x"]}, "api_key_env": "KEY"}
    command = COMMAND.render(place(COMMAND, settings, name="store"))
    assert (command.argv, command.env) == (("x",), {})
    assert command.secrets == {"hunter2"}
