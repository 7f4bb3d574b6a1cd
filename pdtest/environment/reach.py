"""Checks of hosts that are not this machine, and of what cannot be there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pdtest.environment.checks import Subject
from pdtest.environment.finding import Finding
from pdtest.environment.schema import Host

_LOCAL: Final = "local"
_RAY: Final = "ray"
#: Launchers that go to a host by what it says under their name, and how that is said.
_WAYS: Final = {"ssh": "over ssh", _RAY: "through Ray"}


def ways(subject: Subject) -> Iterator[Finding]:
    """Members are started over ssh, or by Ray, where the host says how to get there, and nowhere else."""
    for name, member in subject.environment.members.items():
        host = subject.environment.hosts.get(member.host)
        if host is None:
            continue
        path = ("members", name, "launcher")
        way = member.launcher
        if way in _WAYS and getattr(host, way) is None:
            yield subject.finding(
                path,
                f"host '{member.host}' does not say how to get there",
                expected=f"hosts.{member.host}.{way}, if only an empty one: {way}: {{}}",
                seen=f"no {way}",
            )
        if way == _LOCAL and (there := _way_of(host)) is not None:
            yield subject.finding(
                path,
                f"'{name}' is on host '{member.host}', which is reached {_WAYS[there]}",
                expected=f"launcher: {there}",
                seen=f"launcher: {way}",
                next_step=f"or put it on a host without {there}:, which is this machine",
            )


def one_way(subject: Subject) -> Iterator[Finding]:
    """A host is reached in one way."""
    for name, host in subject.environment.hosts.items():
        if host.ssh is not None and host.ray is not None:
            yield subject.finding(
                ("hosts", name),
                f"host '{name}' has two ways to get there",
                expected="ssh or ray",
                seen="both",
            )


def placed_by_ray(subject: Subject) -> Iterator[Finding]:
    """Members that Ray places ask for resources; the others for devices of their host."""
    for name, member in subject.environment.members.items():
        if member.resources and member.launcher != _RAY:
            yield subject.finding(
                ("members", name, "resources"),
                "only Ray gives members resources",
                expected="launcher: ray, or devices of the host",
                seen=f"launcher: {member.launcher}",
            )
        if member.devices and member.launcher == _RAY:
            yield subject.finding(
                ("members", name, "devices"),
                "Ray says which devices a member gets",
                expected="resources: {GPU: 1}",
                seen=f"devices: {[*member.devices]}",
            )


def relays(subject: Subject) -> Iterator[Finding]:
    """Links that can be broken lead to members of this machine: that is where their relays listen."""
    members = subject.environment.members
    for index, via in enumerate(subject.environment.links):
        target = members.get(via.target)
        if target is not None and target.launcher in _WAYS:
            yield subject.finding(
                ("links", index, "target"),
                f"a link to '{via.target}' cannot go through a relay: it runs on host '{target.host}'",
                expected="a member that is started on this machine",
                seen=f"launcher: {target.launcher}",
                next_step="leave the link out; on that host, nftables or tc can break it",
            )


def senders(subject: Subject) -> Iterator[Finding]:
    """A load comes from this machine, or from a host that is a Ray cluster."""
    asked = subject.environment.performance.senders
    if asked is None:
        return
    known = subject.environment.hosts
    path = ("performance", "senders", "host")
    if asked.host not in known:
        yield subject.unknown(path, "host", asked.host, known)
    elif known[asked.host].ray is None:
        yield subject.finding(
            path,
            f"no load can be sent from host '{asked.host}'",
            expected=f"hosts.{asked.host}.ray, if only an empty one: ray: {{}}",
            seen="no ray",
            next_step="leave senders out to send from this machine",
        )


def _way_of(host: Host) -> str | None:
    return next((way for way in _WAYS if getattr(host, way) is not None), None)
