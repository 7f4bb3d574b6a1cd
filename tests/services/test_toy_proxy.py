from __future__ import annotations

import sys
from typing import Any

import pytest

from pdtest.environment.schema import Member, Role
from pdtest.services.errors import RenderError
from pdtest.services.service import Probe
from pdtest.services.toy_proxy import ToyProxyService

from .conftest import SAMPLES, Place

TOY = ToyProxyService()
PREFILL, DECODE = {"role": Role.PREFILL}, {"role": Role.DECODE}
OTHERS = {"p1": PREFILL, "d1": DECODE, "p2": PREFILL | {"host": "second"}, "plain": {"role": Role.COLOCATED}}
PROXY: dict[str, Any] = {"role": Role.PROXY, "options": {"script": "/opt/toy.py"}}


def test_prefills_and_decodes_are_lists_paired_by_position(place: Place) -> None:
    command = TOY.render(place(TOY, PROXY, name="proxy", others=OTHERS))
    assert command.argv == (
        *(sys.executable, "/opt/toy.py", "--host", "127.0.0.1", "--port", "8000"),
        *("--prefiller-hosts", "127.0.0.1", "10.0.0.2", "--prefiller-ports", "8100", "8300"),
        *("--decoder-hosts", "127.0.0.1", "--decoder-ports", "8200"),
    )
    assert (command.env, command.secrets) == ({"PYTHONUNBUFFERED": "1"}, frozenset())


def test_args_come_last_and_may_hold_references(place: Place) -> None:
    settings = PROXY | {"args": {"max-retries": 3, "log": "${self.dir}/proxy.log"}}
    argv = TOY.render(place(TOY, settings, name="proxy", others=OTHERS)).argv
    assert argv[-4:] == ("--max-retries", "3", "--log", "/run/members/proxy/proxy.log")


@pytest.mark.parametrize("flag", ["host", "port", "prefiller-hosts", "prefiller_ports", "decoder-ports"])
def test_flags_that_the_members_decide_are_refused(flag: str, place: Place) -> None:
    with pytest.raises(RenderError, match="under args"):
        TOY.render(place(TOY, PROXY | {"args": {flag: "x"}}, name="proxy", others=OTHERS))


@pytest.mark.parametrize(("others", "role"), [({"d1": DECODE}, "prefill"), ({"p1": PREFILL}, "decode")])
def test_a_side_without_instances_is_named(others: dict[str, Any], role: str, place: Place) -> None:
    with pytest.raises(RenderError) as caught:
        TOY.render(place(TOY, PROXY, name="proxy", others=others))
    assert str(caught.value) == (
        f"cannot render: proxy 'proxy' has no {role} instance to send requests to\n"
        "  where    members.proxy\n"
        f"  expected at least one member with role: {role}\n"
        "  seen     none"
    )


def test_a_proxy_without_a_script_can_be_attached_to_but_not_started(place: Place) -> None:
    attached = {"role": Role.PROXY, "launcher": "attach", "url": "http://10.0.0.9:8000"}
    placement = place(TOY, attached, name="proxy", others=OTHERS)
    assert TOY.probe(placement) == Probe(url="http://10.0.0.9:8000/healthcheck")
    with pytest.raises(RenderError, match="no script to run") as caught:
        TOY.render(placement)
    assert caught.value.where == "members.proxy.options.script"


def test_the_key_for_the_engines_goes_by_variable(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "hunter2")
    command = TOY.render(place(TOY, PROXY | {"api_key_env": "KEY"}, name="proxy", others=OTHERS))
    assert command.env["OPENAI_API_KEY"] == "hunter2"
    assert command.secrets == {"hunter2"}
    assert not [argument for argument in command.argv if "hunter2" in argument]


@pytest.mark.parametrize(("options", "path"), [({}, "/healthcheck"), ({"ready_path": "/status"}, "/status")])
def test_where_it_is_probed(options: dict[str, str], path: str, place: Place) -> None:
    settings = PROXY | {"options": {"script": "/opt/toy.py"} | options}
    assert TOY.probe(place(TOY, settings, name="proxy", others=OTHERS)).url == f"http://127.0.0.1:8000{path}"


def test_it_has_a_port_and_those_the_member_names() -> None:
    assert TOY.ports(Member(role=Role.PROXY, service="toy-proxy")) == {"http": 1}
    assert TOY.ports(Member(role=Role.PROXY, service="toy-proxy", ports={"zmq": 30001})) == {
        "http": 1,
        "zmq": 1,
    }


def test_the_stage_and_the_errors_as_the_script_prints_them() -> None:
    lines = (SAMPLES / "toy-proxy.log").read_text(encoding="utf-8").splitlines()
    assert [stage.doing for line in lines for stage in TOY.stages if stage.pattern.search(line)] == [
        "answering"
    ]
    assert TOY.log_rules.errors(lines) == [
        "Error occurred in disagg prefill proxy server - completions endpoint",
        "Traceback (most recent call last):",
    ]
