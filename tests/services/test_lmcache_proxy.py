from __future__ import annotations

import sys
from typing import Any

import pytest

from pdtest.environment.schema import Member, Role
from pdtest.services.errors import RenderError
from pdtest.services.lmcache_proxy import LmcacheProxyService

from .conftest import Place

LMCACHE = LmcacheProxyService()
RECEIVES = {"init": 7300, "alloc": 7400}
OTHERS: dict[str, Any] = {
    "p1": {"role": Role.PREFILL},
    "d1": {"role": Role.DECODE, "ports": RECEIVES},
    "p2": {"role": Role.PREFILL, "host": "second"},
    "d2": {"role": Role.DECODE, "host": "second", "ports": RECEIVES},
}
PROXY: dict[str, Any] = {"role": Role.PROXY, "options": {"script": "/opt/lm.py"}, "ports": {"zmq": 7500}}


class Receiving(LmcacheProxyService):
    """Stands for the engines too, whose ports have any name."""

    def ports(self, member: Any) -> Any:
        return {"http": 1} | dict.fromkeys(member.ports, 1)


SERVICE = Receiving()


def test_instances_are_lists_with_commas_and_decode_says_where_it_receives(place: Place) -> None:
    assert SERVICE.render(place(SERVICE, PROXY, name="proxy", others=OTHERS)).argv == (
        *(sys.executable, "/opt/lm.py", "--host", "127.0.0.1", "--port", "8000"),
        *("--prefiller-host", "127.0.0.1,10.0.0.2", "--prefiller-port", "8100,8300"),
        *("--decoder-host", "127.0.0.1,10.0.0.2", "--decoder-port", "8200,8400"),
        *("--decoder-init-port", "7300", "--decoder-alloc-port", "7400"),
        *("--proxy-host", "127.0.0.1", "--proxy-port", "7500"),
    )


def test_all_decodes_receive_on_the_same_ports(place: Place) -> None:
    others = OTHERS | {"d2": {"role": Role.DECODE, "ports": {"init": 7300, "alloc": 7401}}}
    with pytest.raises(RenderError, match="one port 'alloc' for all decode instances") as caught:
        SERVICE.render(place(SERVICE, PROXY, name="proxy", others=others))
    assert caught.value.seen == "d1: 7400, d2: 7401"


def test_a_decode_without_them_is_named(place: Place) -> None:
    others = OTHERS | {"d1": {"role": Role.DECODE}}
    with pytest.raises(RenderError, match="one port 'init'") as caught:
        SERVICE.render(place(SERVICE, PROXY, name="proxy", others=others))
    assert caught.value.seen == "d1: None, d2: 7300"


def test_any_answer_shows_that_it_listens(place: Place) -> None:
    probe = LMCACHE.probe(place(LMCACHE, PROXY, name="proxy", others=OTHERS))
    assert probe.url == "http://127.0.0.1:8000/"
    assert {200, 404} <= probe.accept


def test_it_has_a_port_where_prefill_reports() -> None:
    assert LMCACHE.ports(Member(role=Role.PROXY, service="lmcache-proxy")) == {"http": 1, "zmq": 1}


def test_the_stage_as_the_script_prints_it() -> None:
    line = "[2026-08-20 10:00:00,000] LMCache INFO: ZMQ proxy server started on 127.0.0.1:7500"
    assert [stage.doing for stage in LMCACHE.stages if stage.pattern.search(line)] == ["answering"]
