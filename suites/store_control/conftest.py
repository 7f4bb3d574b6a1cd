"""The meta service of memcache, where an environment has one; the tests of this suite run nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdtest import Environment
from pdtest.cluster.cluster import Cluster
from pdtest.cluster.member import RunningMember
from pdtest.plugin.record import TestRecord
from pdtest.plugin.stash import SELECTION
from pdtest.services.mmc_meta_service import MmcMetaService

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what has no meta service to look at, before a cluster is started for it."""
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent == _HERE and hasattr(item, "callspec"):
            environment = config.stash[SELECTION].environment(str(item.callspec.params["cluster"]))
            if meta_service_of(environment) is None:
                reason = f"{environment.name} has no {MmcMetaService.name}"
                item.add_marker(pytest.mark.skip(reason=reason))


def meta_service_of(environment: Environment) -> str | None:
    """The name of its meta service."""
    names = (name for name, it in environment.members.items() if it.service == MmcMetaService.name)
    return next(names, None)


@pytest.fixture
def meta(cluster: Cluster, pdtest_record: TestRecord) -> RunningMember:
    """The running meta service."""
    return cluster.members[str(meta_service_of(cluster.environment))]
