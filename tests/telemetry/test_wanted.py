from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from pdtest.cluster.member import RunningMember
from pdtest.environment.schema import Connector, DeviceKind, Devices, Environment, Host, Member, Model, Role
from pdtest.services.service import Placement
from pdtest.telemetry.settings import Blind, Chip, Engine
from pdtest.telemetry.wanted import settings_of


@dataclass
class Running:
    """What is asked of a member that runs."""

    placement: Placement
    api_key: str = "key"

    @property
    def name(self) -> str:
        return self.placement.name

    @property
    def role(self) -> Role:
        return self.placement.member.role

    @property
    def url(self) -> str:
        return self.placement.url


def members(host: Host, *, launcher: str = "local", **devices: tuple[int, ...]) -> list[RunningMember]:
    """Engines on one host, by role, and a proxy."""
    engines = {
        name: Member(role=Role(name), service="vllm", launcher=launcher, devices=numbers, host="node")
        for name, numbers in devices.items()
    }
    environment = Environment(
        name="made",
        hosts={"node": host},
        model=Model(path="/model", dtype="float32", block_size=16, max_model_len=512),
        connector=Connector(contract=("nixl",)),
        members=engines | {"proxy": Member(role=Role.PROXY, service="command", host="node")},
    )
    placed = (
        Placement(
            environment=environment,
            name=name,
            member=member,
            directory=Path("/run") / name,
            address=host.address,
            ports={"http": 8000},
            peers={},
        )
        for name, member in environment.members.items()
    )
    return [cast("RunningMember", Running(placement)) for placement in placed]


GPUS = Host(devices=Devices(kind=DeviceKind.CUDA, ids=(0, 1, 2)))


def test_chips_of_engines_and_their_metrics_but_no_proxys() -> None:
    settings = settings_of(members(GPUS, prefill=(0,), decode=(1, 2)), every_s=0.2)
    assert settings.every_s == 0.2
    assert settings.chips == (
        Chip(kind="nvidia", number=0, members=("prefill",)),
        Chip(kind="nvidia", number=1, members=("decode",)),
        Chip(kind="nvidia", number=2, members=("decode",)),
    )
    assert settings.engines == (
        Engine(member="prefill", url="http://127.0.0.1:8000", api_key="key"),
        Engine(member="decode", url="http://127.0.0.1:8000", api_key="key"),
    )
    assert (settings.on_cpu, settings.blind) == ((), ())


def test_a_chip_that_members_share_is_looked_at_once() -> None:
    shared = Host(devices=Devices(kind=DeviceKind.ASCEND, ids=(0,), shared=True))
    settings = settings_of(members(shared, prefill=(0,), decode=(0,)))
    assert settings.chips == (Chip(kind="ascend", number=0, members=("prefill", "decode")),)


@pytest.mark.parametrize("host", [Host(), Host(devices=Devices(kind=DeviceKind.CORE, ids=(0, 1)))])
def test_members_without_chips_compute_on_processors(host: Host) -> None:
    settings = settings_of(members(host, prefill=(), decode=()))
    assert settings.on_cpu == ("prefill", "decode")
    assert (settings.chips, settings.blind) == ((), ())


@pytest.mark.parametrize(
    ("host", "launcher", "why"),
    [
        (Host(address="192.0.2.1", devices=GPUS.devices), "attach", "it computes on 192.0.2.1"),
        (Host(), "attach", "does not say what it computes on: hosts.node.devices"),
        (GPUS, "local", "does not say which of hosts.node.devices are its own"),
    ],
)
def test_what_cannot_be_looked_at_is_named_and_nothing_else_stands_in_for_it(
    host: Host, launcher: str, why: str
) -> None:
    settings = settings_of(members(host, launcher=launcher, decode=()))
    (blind,) = settings.blind
    assert isinstance(blind, Blind)
    assert (blind.name, blind.members) == ("devices-of-decode", ("decode",))
    assert why in blind.reason
    assert (settings.chips, settings.on_cpu) == ((), ())
