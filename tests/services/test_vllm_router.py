from __future__ import annotations

from dataclasses import replace

import pytest

from pdtest.cluster.log import to_lines
from pdtest.environment.routing import Routing
from pdtest.environment.schema import Member, Role
from pdtest.services.errors import RenderError
from pdtest.services.service import Placement, Probe
from pdtest.services.vllm_router import VllmRouterService

from .conftest import SAMPLES, Place

ROUTER = VllmRouterService()
OTHERS = {
    "d1": {"role": Role.DECODE},
    "p1": {"role": Role.PREFILL},
    "d2": {"role": Role.DECODE, "host": "second"},
    "plain": {"role": Role.COLOCATED},
}
PROXY = {"role": Role.PROXY, "options": {"executable": "/opt/router"}}


def test_every_instance_is_a_flag_of_its_own(place: Place) -> None:
    settings = PROXY | {"args": {"policy": "round_robin", "disable-retries": True}}
    command = ROUTER.render(place(ROUTER, settings, name="proxy", others=OTHERS))
    assert command.argv == (
        *("/opt/router", "--vllm-pd-disaggregation"),
        *("--prefill", "http://127.0.0.1:8200"),
        *("--decode", "http://127.0.0.1:8100", "--decode", "http://10.0.0.2:8300"),
        *("--host", "127.0.0.1", "--port", "8000"),
        *("--prometheus-host", "127.0.0.1", "--prometheus-port", "8001"),
        *("--policy", "round_robin", "--disable-retries"),
    )


@pytest.mark.parametrize("flag", ["host", "port", "prometheus_port", "prefill", "decode"])
def test_flags_that_the_members_decide_are_refused(flag: str, place: Place) -> None:
    with pytest.raises(RenderError, match="under args"):
        ROUTER.render(place(ROUTER, PROXY | {"args": {flag: "x"}}, name="proxy", others=OTHERS))


def test_policies_that_routing_names_are_told(place: Place) -> None:
    routing = {"prefill": "cache_aware", "decode": "kv_length"}
    placement = place(ROUTER, PROXY | {"args": {"policy": "random"}}, name="proxy", others=OTHERS)
    argv = ROUTER.render(_routed(placement, routing)).argv
    assert argv[-4:] == ("--prefill-policy", "cache_aware", "--policy", "random")
    assert "--decode-policy" not in argv  # it has no such policy, and is only held to what is said of it


@pytest.mark.parametrize("flag", ["decode-policy", "decode_policy"])
def test_an_argument_beside_what_routing_says_is_refused(flag: str, place: Place) -> None:
    placement = place(ROUTER, PROXY | {"args": {flag: "random"}}, name="proxy", others=OTHERS)
    assert "random" in ROUTER.render(placement).argv
    with pytest.raises(RenderError, match=r"routing\.decode"):
        ROUTER.render(_routed(placement, {"decode": "round_robin"}))


def _routed(placement: Placement, routing: dict[str, str]) -> Placement:
    settings = {"routing": Routing.model_validate(routing)}
    return replace(placement, environment=placement.environment.model_copy(update=settings))


def test_a_program_that_is_not_found_is_left_to_the_launcher_to_miss(place: Place) -> None:
    settings = {"role": Role.PROXY, "options": {"executable": "no-such-router"}}
    assert ROUTER.render(place(ROUTER, settings, name="proxy", others=OTHERS)).argv[0] == "no-such-router"


def test_it_has_a_port_for_its_own_metrics() -> None:
    assert ROUTER.ports(Member(role=Role.PROXY, service="vllm-router")) == {"http": 1, "prometheus": 1}


def test_it_is_ready_when_health_says_so(place: Place) -> None:
    placement = place(ROUTER, PROXY, name="proxy", others=OTHERS)
    assert ROUTER.probe(placement) == Probe(url="http://127.0.0.1:8000/health")


def test_the_stages_of_a_real_start() -> None:
    lines = to_lines((SAMPLES / "router.log").read_bytes())
    seen = [stage.doing for line in lines for stage in ROUTER.stages if stage.pattern.search(line)]
    assert list(dict.fromkeys(seen)) == ["waiting for the engines", "answering"]
    assert seen[0] == "waiting for the engines"
    assert ROUTER.log_rules.errors(lines) == []


@pytest.mark.parametrize(
    ("line", "is_error"),
    [
        ("2026-11-21 ERROR vllm_router_rs::core::worker: Health check failed for http://127.0.0.1:1", False),
        ("2026-11-21 ERROR vllm_router_rs::routers: Decode request failed", True),
        ("thread 'tokio-runtime-worker' panicked at src/server.rs:1:", True),
    ],
)
def test_failed_health_checks_are_the_wait_itself_and_all_else_is_not(line: str, *, is_error: bool) -> None:
    assert ROUTER.log_rules.errors([line]) == ([line] if is_error else [])
