"""What can be wrong with a host that members are to run on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdtest.launch.launcher import LaunchError


class HostError(LaunchError):
    """Members cannot be started on a host."""

    title = "remote host"


class HostUnreachable(HostError):
    """Nobody answers there, or no ssh server."""

    title = "host unreachable"


class KeyRefused(HostError):
    """The host lets none of our keys in."""

    title = "login refused"


class HostKeyUnknown(HostError):
    """The host shows a key that nobody has vouched for."""

    title = "host key not known"


class HostKeyChanged(HostError):
    """The host shows another key than the one that is known."""

    title = "host key changed"


class NoPython(HostError):
    """There is no interpreter that could run the supervisor."""

    title = "no Python on host"


class WorkdirUnusable(HostError):
    """The directory for runs cannot be written, or is full."""

    title = "workdir of host"


class HostLost(HostError):
    """The connection broke, or the other side fell silent."""

    title = "host lost"


_WORKDIR = {
    "permission": ("may not be written", "a directory that this user may write"),
    "room": ("has too little room", "more free space"),
    "busy": ("is still in use by an earlier connection of this run", "that it has ended what it started"),
    "other": ("cannot be used", "a directory"),
}
_WORKDIR_REMEDY = {
    "permission": "set {key}.workdir to a directory of the user's, or give the user that one",
    "room": "make room there, or set {key}.workdir to another disk (or .free_mib lower)",
    "busy": "on the host, see which processes there carry the run's name: grep -l {name} /proc/*/environ",
    "other": "set {key}.workdir to a directory of the user's",
}


def workdir_unusable(name: str, told: Mapping[str, Any], key: str) -> WorkdirUnusable:
    """From what the supervisor tells of it. ``key``: where the environment says how to get there."""
    kind = told["kind"]
    fact, expected = _WORKDIR[kind]
    return WorkdirUnusable(
        f"the workdir on host '{name}' {fact}",
        where=told["where"],
        expected=expected,
        seen=f"user {told['user']}: {told['said']}",
        next_step=_WORKDIR_REMEDY[kind].format(name=name, key=key),
    )


def no_python(name: str, python: str, said: str, version: str | None, key: str) -> NoPython:
    """``said``: by the shell there. ``version``: of the interpreter, where that is too old."""
    fact = f"is Python {version}, which is too old" if version else "does not start"
    return NoPython(
        f"'{python}' on host '{name}' {fact}",
        expected="Python 3.10 or later",
        seen=said or None,
        next_step=f"install one there, or set {key}.python to the path of one",
    )
