from __future__ import annotations

import pytest

from pdtest.embedded.proxy.contracts.registry import CONTRACTS
from pdtest.embedded.proxy.instances import Side, address, is_address
from pdtest.embedded.proxy.policies.registry import POLICIES
from pdtest.embedded.proxy.routing.settings import RoutingSettings
from pdtest.embedded.proxy.settings import Settings


def _parse(*arguments: str, **environment: str) -> Settings:
    return Settings.parse(
        arguments, contracts=tuple(CONTRACTS), policies=tuple(POLICIES), environment=environment
    )


def test_flags_of_the_toy_proxy() -> None:
    line = (
        "--host 127.0.0.1 --port 8192 --prefiller-hosts a ::1 --prefiller-ports 1 2 "
        "--decoder-hosts c --decoder-ports 3 --prefiller-bootstrap-ports 4 5 "
        "--hybrid-hosts d e --hybrid-ports 6 7 --contract nixl,ascend-store --instances-key k"
    )
    settings = _parse(*line.split(), OPENAI_API_KEY="key")
    assert (settings.host, settings.port) == ("127.0.0.1", 8192)
    assert settings.contract == ("nixl", "ascend-store")
    assert (settings.key, settings.instances_key) == ("key", "k")
    assert [(one.side, one.address, one.bootstrap_port) for one in settings.instances()] == [
        (Side.PREFILL, "a:1", 4),
        (Side.PREFILL, "[::1]:2", 5),
        (Side.DECODE, "c:3", None),
        (Side.HYBRID, "d:6", None),
        (Side.HYBRID, "e:7", None),
    ]


def test_flags_of_routing() -> None:
    line = (
        "--phase-policy threshold --input-threshold 128 --ratio 0.5 "
        "--policy kv_length --prefill-policy least_loaded"
    )
    routing = _parse(*line.split()).routing
    assert (routing.phase, routing.input_threshold, routing.ratio) == ("threshold", 128, 0.5)
    assert [routing.policy_of(side) for side in Side] == ["least_loaded", "kv_length", "kv_length"]
    assert _parse("--decode-policy", "kv_length").routing.policy_of(Side.HYBRID) == "kv_length"


def test_defaults() -> None:
    settings = _parse()
    assert (settings.contract, settings.routing, settings.key) == (("nixl",), RoutingSettings(), None)
    assert settings.instances() == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "--prefiller-hosts a b --prefiller-ports 1",
            "--prefiller-hosts has 2 entries and --prefiller-ports 1",
        ),
        ("--decoder-ports 1", "--decoder-hosts has 0 entries"),
        ("--prefiller-hosts a --prefiller-ports 0", "0 is no port"),
        ("--contract nixxl", "'nixxl' is none of"),
        ("--contract p2p-nccl", "--zmq-port is missing"),
        ("--contract ascend-layerwise --host 0.0.0.0", "0.0.0.0 is no address"),
        ("--prefiller-bootstrap-ports 1", "1 ports for 0 prefill instances"),
        ("--policy fastest", "invalid choice"),
        ("--hybrid-hosts a b --hybrid-ports 1", "--hybrid-hosts has 2 entries"),
        ("--phase-policy length", "invalid choice"),
        ("--input-threshold 0", "expected at least 1"),
        ("--ratio inf", "expected more than 0"),
        ("--contract p2p-nccl --zmq-port 1 --phase-policy threshold", "--phase-policy: with p2p-nccl"),
        ("--contract p2p-nccl --zmq-port 1 --hybrid-hosts a --hybrid-ports 1", "--hybrid-hosts: with p2p"),
    ],
)
def test_what_makes_no_sense_ends_with_a_message(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _parse(*arguments.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_help_names_every_contract_policy_and_endpoint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parse("--help")
    said = capsys.readouterr().out
    for name in (
        *CONTRACTS,
        *POLICIES,
        "/v1/metaserver",
        "/instances/add",
        "/healthcheck",
        "x-pdtest-decode",
    ):
        assert name in said


def test_addresses() -> None:
    assert address("::1", 80) == "[::1]:80"
    assert address("127.0.0.1", 80) == "127.0.0.1:80"
    assert address("host.domain", 80) == "host.domain:80"
    assert [is_address(one) for one in ("h:1", "[::1]:80", "h:0", "h", ":1", "h:x", "h:65536", 7)] == [
        True,
        True,
        *[False] * 6,
    ]
