"""Which members can be X-rayed, and where their records go."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pdtest.cluster.member import RunningMember
from pdtest.services.kv_transfer import TRANSFERRING
from pdtest.services.xray import Xrayed

#: Under an environment's directory of the run; one directory per member in it.
DIRECTORY = "xray"


def directory_of(member: RunningMember, root: Path) -> Path:
    """Where a member's records go; ``root`` is the cluster's directory."""
    return root / DIRECTORY / member.name


def exposure_of(member: RunningMember, root: Path) -> tuple[Path, tuple[str, ...]]:
    """Where the member is told to write its records, and the files that must be brought here from there.

    On another host it writes beside its logs, and its records travel to `directory_of` as logs do.
    """
    ours = directory_of(member, root)
    if not member.placement.abroad:
        return ours, ()
    arrivals = member.directory / DIRECTORY
    for directory in (ours, member.directory):
        directory.mkdir(parents=True, exist_ok=True)
    if not arrivals.is_symlink():
        arrivals.symlink_to(ours)
    return member.placement.directory / DIRECTORY, (f"{DIRECTORY}/*.jsonl",)


def can_be_xrayed(member: RunningMember) -> bool:
    """An engine that moves KV, that pdtest starts, and that can be told."""
    return member.role in TRANSFERRING and member.launcher.starts and isinstance(member.service, Xrayed)


def obstacles(members: Iterable[RunningMember]) -> list[str]:
    """Why there are engines whose KV cannot be looked at."""
    found = []
    for member in members:
        if member.role not in TRANSFERRING:
            continue
        if not member.launcher.starts:
            found.append(f"{member.name} is attached: it cannot be started with a probe")
        elif not isinstance(member.service, Xrayed):
            found.append(f"{member.name} is a {member.service.name}, which has no probe")
    return found
