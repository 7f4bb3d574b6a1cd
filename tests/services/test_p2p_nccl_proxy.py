from __future__ import annotations

import sys
from typing import Any

import pytest

from pdtest.cluster.diagnosis import diagnose
from pdtest.environment.schema import Member, Role
from pdtest.services.errors import RenderError
from pdtest.services.p2p_nccl_proxy import P2pNcclProxyService
from pdtest.services.service import Probe
from pdtest.services.serving import serving

from .conftest import SAMPLES, Place

P2P = P2pNcclProxyService()
OTHERS = {"p": {"role": Role.PREFILL}, "d": {"role": Role.DECODE}}
PROXY: dict[str, Any] = {"role": Role.PROXY, "options": {"script": "/opt/p2p.py"}}


def test_the_script_is_served_at_the_members_address_and_ports(place: Place) -> None:
    settings = PROXY | {"ports": {"http": 10001, "zmq": 30001}}
    command = P2P.render(place(P2P, settings, name="proxy", others=OTHERS, address="10.0.0.1"))
    assert command.argv == (sys.executable, "serve.py", "/opt/p2p.py", "10.0.0.1", "10001", "30001")
    assert command.env == {"PYTHONUNBUFFERED": "1"}
    assert command.files == {"serve.py": serving("p2p_nccl")}


def test_ports_may_be_chosen() -> None:
    assert P2P.ports(Member(role=Role.PROXY, service="p2p-nccl-proxy")) == {"http": 1, "zmq": 1}


@pytest.mark.parametrize(("absent", "role"), [("p", "prefill"), ("d", "decode")])
def test_a_side_without_instances_is_named(absent: str, role: str, place: Place) -> None:
    others = {name: member for name, member in OTHERS.items() if name != absent}
    with pytest.raises(RenderError, match=f"no {role} instance"):
        P2P.render(place(P2P, PROXY, name="proxy", others=others))


def test_a_proxy_that_runs_already_need_only_listen(place: Place) -> None:
    ours = P2P.probe(place(P2P, PROXY, name="proxy", others=OTHERS))
    assert ours == Probe(url="http://127.0.0.1:8000/health")
    attached = {"role": Role.PROXY, "launcher": "attach", "url": "http://10.0.0.9:10001"}
    theirs = P2P.probe(place(P2P, attached, name="proxy", others=OTHERS))
    assert theirs.url == "http://10.0.0.9:10001/"
    assert {200, 404, 405, 500} <= theirs.accept


def test_stages_errors_and_the_failure_of_a_real_log() -> None:
    lines = (SAMPLES / "p2p-nccl-proxy.log").read_text(encoding="utf-8").splitlines()
    seen = [stage.doing for line in lines for stage in P2P.stages if stage.pattern.search(line)]
    assert seen == [
        "waiting for prefill and decode to register",
        "waiting for decode to register",
        "answering",
    ]
    assert P2P.log_rules.errors(lines) == [
        "Error occurred in disagg prefill proxy server",
        "Traceback (most recent call last):",
    ]
    finding = diagnose(lines, P2P.diagnoses)
    assert finding is not None
    assert finding.diagnosis.name == "no prefill registered"
