"""The store of an environment, as tests use it."""

from __future__ import annotations

import asyncio
import os
import re
import signal

from pdtest.cluster.cluster import Cluster
from pdtest.errors import PdtestError
from pdtest.plugin.run import Run
from pdtest.plugin.selection import pool_member
from pdtest.services.pool import PoolService
from pdtest.stores.store import Store


class CannotRestart(PdtestError):
    """A test wanted to restart a store that pdtest did not start."""

    title = "cannot restart"


def store_of(cluster: Cluster, run: Run, *, test: str) -> Store:
    """The store that tests have clients of; their logs lie beside the members' directories."""
    name = pool_member(cluster.environment)
    member = cluster.members[name or ""]
    service = member.service
    assert isinstance(service, PoolService)  # noqa: S101 - tests without one are not run here

    async def restart(kill: bool) -> None:
        if not member.launcher.starts:
            raise CannotRestart(
                f"'{member.name}' is attached to, it is not ours to restart",
                next_step="deselect the tests that restart it: -m 'not disruptive'",
            )
        if kill and member.process is not None and member.process.pid is not None:
            os.kill(member.process.pid, signal.SIGKILL)
            await asyncio.wrap_future(member.died)
        await asyncio.to_thread(cluster.restart, member.name)

    return Store(
        member=member.name,
        access=service.access(member.placement),
        directory=cluster.directory / "clients" / _directory_name(test),
        owner=run.id,
        seed=f"{run.seed}:{test}",
        restart=restart,
    )


def _directory_name(test: str) -> str:
    """Of the test's id: its own name and parameters."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", test.rpartition("::")[2])
