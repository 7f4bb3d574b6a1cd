from __future__ import annotations

import sys
from typing import Any

import pytest

from pdtest.environment.schema import Role
from pdtest.services.embedded_proxy import EmbeddedProxyService
from pdtest.services.errors import RenderError
from pdtest.services.mutant_gateway import MutantGatewayService
from pdtest.services.vllm_router import VllmRouterService

from .conftest import Place

GATEWAY, PROXY, ROUTER = MutantGatewayService(), EmbeddedProxyService(), VllmRouterService()
SETTINGS: dict[str, Any] = {"role": Role.PROXY, "options": {"before": "behind"}}
BEHIND: dict[str, Any] = {"role": Role.PROXY, "options": {"through": "gateway"}}
ENGINES = {"p": {"role": Role.PREFILL}, "d": {"role": Role.DECODE}}


def test_it_stands_before_the_proxy_and_before_both_engines(place: Place) -> None:
    others = {**ENGINES, "behind": {"role": Role.PROXY}}
    placement = place(GATEWAY, SETTINGS, name="gateway", others=others)
    urls = {name: peer.url for name, peer in placement.peers.items()}
    command = GATEWAY.render(placement)
    assert command.argv == (
        *(sys.executable, "-m", "pdtest.mutants.gateway", "--host", "127.0.0.1"),
        *("--switch", "/run/members/gateway/mutant.switch"),
        *("--front", str(placement.ports["http"]), urls["behind"]),
        *("--prefill", str(placement.ports["prefill"]), urls["p"]),
        *("--decode", str(placement.ports["decode"]), urls["d"]),
    )
    assert GATEWAY.probe(placement).url == placement.url + "/health"


def test_a_proxy_that_there_is_not(place: Place) -> None:
    with pytest.raises(RenderError, match="stands before no proxy"):
        GATEWAY.render(place(GATEWAY, SETTINGS, name="gateway", others=ENGINES))


def test_one_engine_of_each_kind(place: Place) -> None:
    others = {**ENGINES, "p2": {"role": Role.PREFILL}, "behind": {"role": Role.PROXY}}
    with pytest.raises(RenderError, match="one side for prefill"):
        GATEWAY.render(place(GATEWAY, SETTINGS, name="gateway", others=others))


def test_the_proxy_behind_it_finds_its_engines_there(place: Place) -> None:
    gateway = {"role": Role.PROXY, "service": GATEWAY.name, "options": {"before": "proxy"}}
    others = {**ENGINES, "gateway": gateway}
    placement = place(PROXY, BEHIND, name="proxy", others=others, further=[GATEWAY])
    ports, argv = placement.peers["gateway"].ports, PROXY.render(placement).argv
    for side, role in (("prefiller", "prefill"), ("decoder", "decode")):
        assert argv[argv.index(f"--{side}-ports") + 1] == str(ports[role])
        assert argv[argv.index(f"--{side}-hosts") + 1] == "127.0.0.1"


def test_so_does_a_router(place: Place) -> None:
    gateway = {"role": Role.PROXY, "service": GATEWAY.name, "options": {"before": "proxy"}}
    placement = place(ROUTER, BEHIND, name="proxy", others={**ENGINES, "gateway": gateway}, further=[GATEWAY])
    ports, argv = placement.peers["gateway"].ports, ROUTER.render(placement).argv
    for side in ("prefill", "decode"):
        assert argv[argv.index(f"--{side}") + 1] == f"http://127.0.0.1:{ports[side]}"


def test_a_gateway_that_is_none(place: Place) -> None:
    with pytest.raises(RenderError, match="through no gateway"):
        PROXY.render(place(PROXY, {**BEHIND, "options": {"through": "d"}}, name="proxy", others=ENGINES))
