from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pdtest.environment.routing import Routing
from pdtest.environment.schema import Connector, Devices, Environment, Host, Member, Model, Role
from pdtest.services.service import Peer, Placement, Service, base_url

SAMPLES = Path(__file__).with_name("samples")
DIRECTORY = Path("/run/members")

Place = Callable[..., Placement]


def placed(environment: Environment, name: str, services: Mapping[str, Service]) -> Placement:
    """A placement with ports counted up from 8000 in the file's order, a hundred for each member."""
    ports = {
        other: dict(_ports(services[member.service].ports(member), member, 8000 + 100 * index))
        for index, (other, member) in enumerate(environment.members.items())
    }
    addresses = {
        other: environment.hosts[member.host].address for other, member in environment.members.items()
    }
    return Placement(
        environment=environment,
        name=name,
        member=environment.members[name],
        directory=DIRECTORY / name,
        address=addresses[name],
        ports=ports[name],
        peers={
            other: Peer(
                name=other,
                role=member.role,
                address=addresses[other],
                ports=ports[other],
                url=base_url(member, addresses[other], ports[other]),
                standby=member.standby,
            )
            for other, member in environment.members.items()
            if other != name
        },
    )


def _ports(wanted: Mapping[str, int], member: Member, first: int) -> dict[str, int]:
    ports: dict[str, int] = {}
    for port, count in wanted.items():
        given = member.ports.get(port, "auto")
        ports[port] = first if given == "auto" else given
        first += count
    return ports


@pytest.fixture
def place() -> Place:
    """The placement of the member ``name`` among ``members``, each given as what its file would say."""

    def place(  # noqa: PLR0913 - everything a test may vary
        service: Service,
        settings: Mapping[str, Any],
        *,
        name: str = "decode",
        others: Mapping[str, Mapping[str, Any]] | None = None,
        connector: Mapping[str, Any] | None = None,
        devices: Devices | None = None,
        address: str = "127.0.0.1",
        further: Sequence[Service] = (),
        routing: Mapping[str, Any] | None = None,
    ) -> Placement:
        members = {name: {"role": Role.DECODE} | dict(settings), **(others or {})}
        environment = Environment(
            name="made up",
            hosts={"local": Host(address=address, devices=devices), "second": Host(address="10.0.0.2")},
            model=Model(path="org/model", dtype="float32", block_size=32, max_model_len=2048),
            connector=Connector.model_validate({"contract": ["nixl"], **(connector or {})}),
            routing=Routing.model_validate(routing or {}),
            members={
                key: Member.model_validate({"service": service.name} | dict(value))
                for key, value in members.items()
            },
        )
        return placed(environment, name, {known.name: known for known in (service, *further)})

    return place
