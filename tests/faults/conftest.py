from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Connector, Environment, Member, Model, Via
from pdtest.events import Event, Journal
from pdtest.faults import Fault, Unverified, inflicted
from pdtest.launch.claims import DIRECTORY_VARIABLE
from pdtest.launch.kin import OWNER_VARIABLE, Kin
from pdtest.launch.registry import launchers
from pdtest.services.registry import services

LITTLE = Path(__file__).with_name("little.py")
Start = Callable[..., Cluster]


def little(role: str = "decode", *manners: str, **more: Any) -> Member:
    argv = [sys.executable, "-S", "-E", str(LITTLE), "${self.ports.http}", *manners]
    return Member.model_validate(
        {"role": role, "service": "command", "options": {"argv": argv}, "stop_timeout_s": 5.0} | more
    )


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts little members: ``start(links=[...], decode=little())``. Nothing of them survives the test."""
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "leases"))
    owner = f"test-{uuid.uuid4().hex}"
    journal = Journal(tmp_path / "events.jsonl")
    clusters: list[Cluster] = []

    def start(links: tuple[Via, ...] = (), **members: Member) -> Cluster:
        environment = Environment(
            name="little",
            model=Model(path="none", dtype="float32", block_size=16, max_model_len=64),
            connector=Connector(contract=("nixl",)),
            members=members or {"decode": little()},
            links=links,
        )
        cluster = Cluster(
            environment,
            tmp_path / "run",
            services=services(),
            launchers=launchers(),
            journal=journal,
            owner=owner,
        )
        clusters.append(cluster)
        cluster.start()
        return cluster

    try:
        yield start
    finally:
        for cluster in clusters:
            cluster.stop()
        journal.close()
        assert Kin({OWNER_VARIABLE: owner}).scan() == []


class Told(list[Event]):
    """Events in the order in which they were told."""

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self]


async def unverified(fault: Fault) -> Unverified:
    """How the verification fails of a fault that does nothing."""
    told = Told()
    with pytest.raises(Unverified) as raised:
        async with inflicted(fault, tell=told.append):
            pytest.fail("it was taken for verified")
    assert told.kinds == ["FaultArmed", "FaultLifted"]
    return raised.value
