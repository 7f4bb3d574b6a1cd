from __future__ import annotations

import pytest

from pdtest.embedded.proxy.contracts.registry import CONTRACTS
from pdtest.embedded.proxy.instances import Side, address, is_address
from pdtest.embedded.proxy.policies import POLICIES
from pdtest.embedded.proxy.settings import Settings


def _parse(*arguments: str, **environment: str) -> Settings:
    return Settings.parse(
        arguments, contracts=tuple(CONTRACTS), policies=tuple(POLICIES), environment=environment
    )


def test_flags_of_the_toy_proxy() -> None:
    line = (
        "--host 127.0.0.1 --port 8192 --prefiller-hosts a ::1 --prefiller-ports 1 2 "
        "--decoder-hosts c --decoder-ports 3 --prefiller-bootstrap-ports 4 5 "
        "--contract nixl,ascend-store --policy kv_length --instances-key k"
    )
    settings = _parse(*line.split(), OPENAI_API_KEY="key")
    assert (settings.host, settings.port, settings.policy) == ("127.0.0.1", 8192, "kv_length")
    assert settings.contract == ("nixl", "ascend-store")
    assert (settings.key, settings.instances_key) == ("key", "k")
    assert [(one.side, one.address, one.bootstrap_port) for one in settings.instances()] == [
        (Side.PREFILL, "a:1", 4),
        (Side.PREFILL, "[::1]:2", 5),
        (Side.DECODE, "c:3", None),
    ]


def test_defaults() -> None:
    settings = _parse()
    assert (settings.contract, settings.policy, settings.key) == (("nixl",), "round_robin", None)
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
        ("--policy random", "invalid choice"),
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
