from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pdtest.cluster.cluster import Cluster
from pdtest.events import Event, read
from pdtest.launch.claims import DIRECTORY_VARIABLE
from tests.launch.sshd import servers

from .fakes import cluster_of, survivors

__all__ = ["servers"]


class Workshop:
    """Makes clusters for one test, and knows what must be gone after it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.owner = f"test-{uuid.uuid4().hex}"
        self._owners = {self.owner}
        self._clusters: list[Cluster] = []

    def cluster(
        self,
        members: Mapping[str, Mapping[str, Any]],
        subdirectory: str = "run",
        hosts: Mapping[str, Any] | None = None,
        owner: str = "",
    ) -> Cluster:
        """``owner``: of another run than the test's."""
        whose = f"{self.owner}+{owner}" if owner else self.owner
        self._owners.add(whose)
        cluster = cluster_of(members, self.directory / subdirectory, whose, hosts)
        self._clusters.append(cluster)
        return cluster

    def events(self, subdirectory: str = "run") -> list[Event]:
        return list(read(self.directory / subdirectory / "events.jsonl"))

    def kinds(self, member: str) -> list[str]:
        return [e.kind for e in self.events() if getattr(e, "member", None) == member]

    def close(self) -> None:
        for cluster in self._clusters:
            cluster.stop()
            cluster._journal.close()
        assert [pid for owner in self._owners for pid in survivors(owner)] == []


@pytest.fixture(autouse=True)
def _own_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "leases"))


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    shop = Workshop(tmp_path)
    try:
        yield shop
    finally:
        shop.close()
