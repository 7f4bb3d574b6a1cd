"""Which cluster a run uses: one of its own, one that stands, or one that its workers share."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Environment
from pdtest.keeper import FOLDER, KeptCluster, Standing, find, join
from pdtest.launch.registry import launchers
from pdtest.plugin.terminal import released, show
from pdtest.report.progress import Progress
from pdtest.services.registry import services

if TYPE_CHECKING:
    from pdtest.plugin.run import Run

#: A worker's test waits for its turn as long as other tests may take.
_WORKERS_PATIENCE_S = 3600.0


def cluster_for(environment: Environment, directory: Path, run: Run) -> Cluster:
    """Not started yet, unless it stands. Raises InUse, and what joining a standing one raises.

    ``directory``: the environment's in the run's.
    """
    config = run.config
    standing = None if config.getoption("fresh") else find(run.home, environment.name)
    if standing is not None:
        return _standing(environment, standing, directory, run)
    if run.worker is not None:
        joined = join(
            environment,
            directory,
            journal=run.journal,
            holder=holder(run),
            controller=run.worker.controller,
            within_s=_WORKERS_PATIENCE_S,
        )
        # Whoever came first starts it within its turn; each test will ask for one of its own.
        return joined.cluster
    if config.getoption("keep"):
        home = run.home / FOLDER / environment.name
        joined = join(environment, home, journal=run.journal, holder=holder(run))
        _point(directory / "members", home / "members")
        return joined.cluster
    return Cluster(
        environment,
        directory,
        services=services(),
        launchers=launchers(),
        journal=run.journal,
        owner=run.id,
        purpose=f"'{_typed()}'",
    )


def patience_s(config: pytest.Config) -> float:
    """How long to wait for what another run has: a cluster, or devices."""
    return float(config.getoption("cluster_wait"))


def leave(cluster: Cluster, run: Run, *, failed: bool = False) -> None:
    """The run needs it no more. ``failed``: it did not come up."""
    if not isinstance(cluster, KeptCluster):
        cluster.stop()
        return
    name = cluster.environment.name
    if _no_other_worker_needs(name, run):
        cluster.end()
        return
    mine = run.config.getoption("keep") and run.worker is None and name not in run.stood_before
    if mine and (failed or not run.troubled):
        cluster.end()
        return
    if mine:
        show(run.config, f"{cluster.environment.name} is left running (--keep)", how_to_get_at(cluster))
    cluster.stop()


def _no_other_worker_needs(name: str, run: Run) -> bool:
    """Its members give their memory and devices back as soon as its tests are over."""
    if run.worker is None or name in run.stood_before:
        return False
    return run.worker.apart or name in run.rivals


@contextmanager
def turn(run: Run, cluster: Cluster) -> Iterator[None]:
    """One of xdist's workers has the cluster for a test, and has it alone."""
    if run.worker is None or not isinstance(cluster, KeptCluster):
        yield
        return
    cluster.turn(within_s=_WORKERS_PATIENCE_S)
    try:
        yield
    finally:
        cluster.give_back()


def holder(run: Run) -> str:
    """How others are told who uses a cluster."""
    worker = f", worker {run.worker.name}" if run.worker else ""
    return f"run {run.id}{worker}, process {os.getpid()}: {_typed()}"


def _typed() -> str:
    """The command line, as far as it tells what this is."""
    return shlex.join(["pytest", *sys.argv[1:]])[:100]


def how_to_get_at(cluster: Cluster) -> list[str]:
    """What to type to look around in a cluster that stands."""
    name = cluster.environment.name
    return [
        f"  {member.name:<12} {'standby' if member.resting else member.state:<8} {member.url}  "
        f"log {member.log.path}"
        for member in cluster.members.values()
    ] + [f"  pdtest ps, pdtest logs -f MEMBER, pdtest ask 'prompt', pdtest down {name}"]


def _standing(environment: Environment, standing: Standing, directory: Path, run: Run) -> Cluster:
    told: list[str] = []

    def note(whose: str, for_s: float) -> None:
        if whose not in told:
            told.append(whose)
            lines = [f"  {whose}, for {for_s:.0f} s", "  waiting until it is free (--cluster-wait, --fresh)"]
            show(run.config, f"{environment.name} stands, and is in use", lines)

    with ExitStack() as stack:
        console = stack.enter_context(released(run.config))
        joined = join(
            environment,
            standing.directory,
            journal=run.journal,
            holder=holder(run),
            within_s=_WORKERS_PATIENCE_S if run.worker else patience_s(run.config),
            note=note,
            watch=None if console is None else stack.enter_context(Progress(console)),
        )
    run.stood_before.add(environment.name)
    _point(directory / "members", standing.directory / "members")
    if not joined.new:
        joined.cluster.join()
        anew = f"; started anew, since changed: {', '.join(joined.renewed)}" if joined.renewed else ""
        show(run.config, f"using {environment.name}, which stands{anew}", ())
    return joined.cluster


def _point(link: Path, target: Path) -> None:
    with suppress(OSError):
        link.symlink_to(target)
