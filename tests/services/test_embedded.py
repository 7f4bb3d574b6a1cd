from __future__ import annotations

import sys
from typing import Any

import pytest

from pdtest.embedded.proxy.policies.registry import POLICIES
from pdtest.embedded.proxy.routing.settings import RoutingSettings
from pdtest.embedded.proxy.settings import Settings
from pdtest.environment.routing import Spread
from pdtest.environment.schema import Member, Role
from pdtest.services.embedded_engine import EmbeddedEngineService
from pdtest.services.embedded_proxy import EmbeddedProxyService
from pdtest.services.embedded_store import EmbeddedStoreService
from pdtest.services.errors import RenderError
from pdtest.services.service import Probe

from .conftest import Place

ENGINE, PROXY, STORE = EmbeddedEngineService(), EmbeddedProxyService(), EmbeddedStoreService()
PREFILL, DECODE = {"role": Role.PREFILL}, {"role": Role.DECODE}
OTHERS: dict[str, dict[str, Any]] = {
    "p1": PREFILL,
    "d1": DECODE,
    "p2": PREFILL | {"host": "second"},
    "plain": {"role": Role.COLOCATED},
}


def member(role: Role, **args: Any) -> Member:
    return Member(role=role, service=ENGINE.name, args=args)


def test_an_engine_takes_vllms_flags_and_no_dtype(place: Place) -> None:
    settings = {"args": {"decode-time": 0.5}}
    connector = {"config": {"kv_connector": "NixlConnector"}}
    command = ENGINE.render(place(ENGINE, settings, connector=connector))
    assert command.argv == (
        *(sys.executable, "-m", "pdtest.embedded.engine", "--model", "org/model"),
        *("--served-model-name", "org/model", "--max-model-len", "2048", "--block-size", "32"),
        *("--host", "127.0.0.1", "--port", "8000", "--decode-time", "0.5"),
        *("--kv-transfer-config", '{"kv_connector":"NixlConnector"}'),
    )
    assert command.env == {
        "VLLM_MOONCAKE_BOOTSTRAP_PORT": "8002",
        "VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1",
        "VLLM_NIXL_SIDE_CHANNEL_PORT": "8001",
    }


def test_engines_that_transfer_have_a_port_per_rank_for_what_connectors_listen_on() -> None:
    assert ENGINE.ports(member(Role.COLOCATED)) == {"http": 1}
    assert ENGINE.ports(member(Role.DECODE)) == {"http": 1, "side_channel": 1, "bootstrap": 1, "p2p": 1}
    many = member(Role.PREFILL, **{"tensor-parallel-size": 2, "data_parallel_size": 2})
    assert ENGINE.ports(many) == {"http": 1, "side_channel": 4, "bootstrap": 1, "p2p": 4}


def test_a_key_is_in_the_environment_only(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    command = ENGINE.render(place(ENGINE, {"api_key_env": "MY_KEY"}))
    assert command.env["VLLM_API_KEY"] == "s3cret"
    assert "s3cret" not in command.argv
    assert command.secrets == {"s3cret"}


@pytest.mark.parametrize("flag", ["host", "port", "model", "kv_transfer_config", "api-key"])
def test_flags_of_an_engine_that_the_file_decides_are_refused(flag: str, place: Place) -> None:
    with pytest.raises(RenderError, match="under args"):
        ENGINE.render(place(ENGINE, {"args": {flag: "x"}}))


def proxy_argv(
    place: Place,
    contract: list[str],
    *,
    routing: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    **settings: Any,
) -> tuple[str, ...]:
    placed = place(
        PROXY,
        {"role": Role.PROXY, **settings},
        name="proxy",
        others={name: {"service": ENGINE.name, **other} for name, other in (OTHERS | (more or {})).items()},
        connector={"contract": contract},
        further=(ENGINE,),
        routing=routing,
    )
    argv = PROXY.render(placed).argv
    assert argv[:3] == (sys.executable, "-m", "pdtest.embedded.proxy")
    return argv[7:]


INSTANCES = (
    *("--prefiller-hosts", "127.0.0.1", "10.0.0.2", "--prefiller-ports", "8100", "8300"),
    *("--decoder-hosts", "127.0.0.1", "--decoder-ports", "8200"),
)


def test_a_proxy_is_told_its_instances_and_the_contract(place: Place) -> None:
    assert proxy_argv(place, ["nixl"]) == ("--contract", "nixl", *INSTANCES)
    policy = {"args": {"policy": "kv_length"}}
    assert proxy_argv(place, ["nixl"], **policy)[-2:] == ("--policy", "kv_length")


def test_a_proxy_is_told_its_hybrids(place: Place) -> None:
    argv = proxy_argv(place, ["nixl"], more={"h1": {"role": Role.HYBRID}, "h2": {"role": Role.HYBRID}})
    hybrids = ("--hybrid-hosts", "127.0.0.1", "127.0.0.1", "--hybrid-ports", "8500", "8600")
    assert argv == ("--contract", "nixl", *INSTANCES, *hybrids)


@pytest.mark.parametrize(
    ("routing", "rendered"),
    [
        (
            {"phase": {"policy": "threshold", "input_threshold": 128}},
            "--phase-policy threshold --input-threshold 128 --ratio 4.0",
        ),
        ({"prefill": "kv_length"}, "--prefill-policy kv_length"),
        (
            {"phase": {"policy": "adaptive", "ratio": 0.5}},
            "--phase-policy adaptive --input-threshold 800 --ratio 0.5 --flex 2.0",
        ),
        ({"decode": "least_loaded"}, "--decode-policy least_loaded"),
        ({"overload": 0.5}, "--overload 0.5"),
        (
            {"scaling": {"decode": {"most": 3}, "busy": 0.7}},
            "--scale-decode 1 3 --scale-busy 0.7 --scale-idle 0.2 --scale-over 2.0",
        ),
        ({"session": {"header": "x-user", "idle_s": 1.5}}, "--session-header x-user --session-idle 1.5"),
    ],
)
def test_what_routing_says_is_what_the_proxy_is_told(
    routing: dict[str, Any], rendered: str, place: Place
) -> None:
    argv = proxy_argv(place, ["nixl"], routing=routing)
    assert " ".join(argv) == " ".join(("--contract nixl", *INSTANCES, rendered))
    flags = argv[argv.index(rendered.split(maxsplit=1)[0]) :]
    parsed = Settings.parse(flags, contracts=["nixl"], policies=tuple(POLICIES), environment={}).routing
    assert parsed != RoutingSettings()
    for flag in (word for word in rendered.split() if word.startswith("--")):
        with pytest.raises(RenderError, match="what routing says"):
            proxy_argv(place, ["nixl"], routing=routing, args={flag.removeprefix("--"): "x"})


def test_the_proxy_has_every_policy_that_an_environment_may_name() -> None:
    assert set(POLICIES) == {spread.value for spread in Spread}


def test_of_a_composition_it_is_told_the_one_that_leads(place: Place) -> None:
    assert proxy_argv(place, ["ascend-store", "ascend-mooncake"])[:2] == ("--contract", "ascend-mooncake")


def test_where_prefills_introduce_themselves_it_is_told_where(place: Place) -> None:
    assert proxy_argv(place, ["mooncake"])[-3:] == ("--prefiller-bootstrap-ports", "8102", "8302")


def test_where_engines_register_it_is_told_no_instances(place: Place) -> None:
    argv = proxy_argv(place, ["p2p-nccl"], options={"registration": True})
    assert argv == ("--contract", "p2p-nccl", "--zmq-port", "8001")


@pytest.mark.parametrize("flag", ["contract", "zmq-port", "prefiller_ports", "prefiller-bootstrap-ports"])
def test_flags_of_a_proxy_that_the_file_decides_are_refused(flag: str, place: Place) -> None:
    with pytest.raises(RenderError, match="under args"):
        proxy_argv(place, ["nixl"], args={flag: "x"})


def test_a_store_serves_clients_and_http_on_ports_of_their_own(place: Place) -> None:
    settings = {"role": Role.STORE, "args": {"segment-mib": 8}}
    placement = place(STORE, settings, name="store")
    assert STORE.render(placement).argv == (
        *(sys.executable, "-m", "pdtest.embedded.store", "--host", "127.0.0.1"),
        *("--port", "8001", "--http-port", "8000", "--segment-mib", "8"),
    )
    assert STORE.probe(placement) == Probe(url="http://127.0.0.1:8000/health")
    with pytest.raises(RenderError, match="under args"):
        STORE.render(place(STORE, {"role": Role.STORE, "args": {"http_port": 1}}, name="store"))
