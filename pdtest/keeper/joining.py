"""How a client comes to a cluster that a keeper has, be it new or standing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pdtest.cluster.cluster import OtherLayout, Watch
from pdtest.environment.schema import Environment
from pdtest.events import Journal
from pdtest.keeper.kept import KeptCluster, Note
from pdtest.keeper.standing import raised


@dataclass(frozen=True, kw_only=True)
class Joined:
    """``new``: nothing runs yet. ``renewed``: members started anew, since what they are made of changed."""

    cluster: KeptCluster
    new: bool
    renewed: tuple[str, ...] = ()


def join(  # noqa: PLR0913 - one thing, and by keyword how
    environment: Environment,
    directory: Path,
    *,
    journal: Journal,
    holder: str,
    controller: int | None = None,
    within_s: float = 0.0,
    note: Note | None = None,
    watch: Watch | None = None,
    forget: Callable[[], None] = lambda: None,
) -> Joined:
    """The cluster of ``directory``, ours to use; it is what ``environment`` says by now.

    One with other members or ports is ended, and a new one begun: ``forget`` hears of it first.
    ``controller``, ``within_s`` and ``note`` as in `raised` and `KeptCluster.turn`.

    Raises InUse, KeeperFailed, and what `Cluster.renew` raises.
    """
    with raised(directory, environment.name, controller=controller) as (_, new):
        cluster = KeptCluster(environment, directory, journal=journal, holder=holder)
        if new:
            cluster.begin()
    try:
        cluster.turn(within_s=within_s, note=note)
        if new:
            return Joined(cluster=cluster, new=True)
        renewed = cluster.renew(environment, watch=watch, within_s=within_s)
        return Joined(cluster=cluster, new=False, renewed=renewed)
    except OtherLayout:
        forget()
        cluster.end()
    except BaseException:
        cluster.stop()
        raise
    return join(
        environment,
        directory,
        journal=journal,
        holder=holder,
        controller=controller,
        within_s=within_s,
        note=note,
        watch=watch,
        forget=forget,
    )
