"""What can be wrong with a Ray cluster that members are to run on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pdtest.launch.host_errors import HostError, HostLost


class RayUnreachable(HostError):
    """No cluster answers at the address."""

    title = "Ray cluster unreachable"


class RayMismatch(HostError):
    """The cluster is of another version of Ray or of Python than we are."""

    title = "Ray versions differ"


class NoSuchResources(HostError):
    """No node of the cluster has what is asked for: Ray would wait for ever."""

    title = "no such resources"


class ResourcesBusy(HostError):
    """Somebody else has had the resources for too long."""

    title = "resources in use"


class NoSuchNode(HostError):
    """The cluster has no such node."""

    title = "no such node"


def not_connected(address: str, told: Mapping[str, Any]) -> HostError:
    """From what the bridge told of `ray.init`, or of its own end."""
    if told["kind"] == "mismatch":
        return RayMismatch(
            f"the Ray cluster at {address} is of other versions than this process",
            expected="the same ray, and the same Python up to its minor version, on both sides",
            seen=told["said"],
            next_step="install the cluster's version of ray here, in a Python of the cluster's version",
        )
    return RayUnreachable(
        f"no Ray cluster answers at '{address}'",
        expected="HOST:PORT of the head (ray start --head prints it), on a machine that is a node itself; "
        "from elsewhere ray://HOST:10001",
        seen=told["said"],
        next_step="ray status --address " + address
        if address != "auto"
        else "ray start on this machine, or give hosts.NAME.ray.address",
    )


def not_placed(who: str, wish: Mapping[str, Any], address: str, told: Mapping[str, Any]) -> HostError:
    """From what the bridge told of a wish for a place. ``who``: wants it."""
    where = f"the Ray cluster at {address}"
    asked = _amounts(wish["resources"]) or "nothing"
    seen = "\n".join(map(_node, told.get("nodes", ()))) or told.get("said") or "no nodes"
    if told["kind"] == "no-node":
        return NoSuchNode(
            f"the Ray cluster has no node {_meant(wish)}, which {who} is to run on",
            expected=_meant(wish),
            seen=seen,
            where=where,
            next_step="correct hosts.NAME.ray.node and .labels, or start that node: ray start --address",
        )
    if told["kind"] == "busy":
        return ResourcesBusy(
            f"{who} was given no place on the Ray cluster within {wish['patience_s']:g} s",
            expected=f"{asked} on one node",
            seen=f"left over:\n{seen}",
            where=where,
            next_step="see who has them: ray list actors; or wait longer: hosts.NAME.ray.place_timeout_s",
        )
    if told["kind"] == "lost":
        return HostLost(
            f"the place that Ray gave {who} was lost at once",
            seen=seen,
            where=where,
            next_step="see which nodes live: ray status",
        )
    if told["kind"] == "invalid":
        return NoSuchResources(
            f"Ray does not take the resources of {who}", expected=asked, seen=seen, where=where
        )
    return NoSuchResources(
        f"no node of the Ray cluster has what {who} asks for",
        expected=f"{asked} on one node",
        seen=seen,
        where=where,
        next_step="correct its resources, or start a node that has them: ray start --resources",
    )


def _node(told: Mapping[str, Any]) -> str:
    labels = ", ".join(f"{key}={text}" for key, text in told["labels"].items())
    return f"{told['node']}: {_amounts(told['resources']) or 'nothing'}{f' ({labels})' if labels else ''}"


def _meant(wish: Mapping[str, Any]) -> str:
    return ", ".join(_meanings(wish))


def _meanings(wish: Mapping[str, Any]) -> Iterable[str]:
    if wish["node"]:
        yield wish["node"]
    yield from (f"with the label {key}={text}" for key, text in wish["labels"].items())


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name}: {_gib(amount) if name == 'memory' else f'{amount:g}'}"
        for name, amount in sorted(resources.items())
    )


def _gib(amount: float) -> str:
    return f"{amount / 2**30:.1f} GiB"
