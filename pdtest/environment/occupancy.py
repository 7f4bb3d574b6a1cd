"""Checks of what members take up on their hosts: devices and ports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from pdtest.environment.checks import Subject
from pdtest.environment.finding import Finding
from pdtest.environment.schema import Member, ReferenceKind, Role


def devices(subject: Subject) -> Iterator[Finding]:
    """Members ask for devices that their host has."""
    for name, member in subject.environment.members.items():
        host = subject.environment.hosts.get(member.host)
        if host is None:
            continue
        known = host.devices.ids if host.devices else ()
        for index, device in enumerate(member.devices):
            if device not in known:
                yield subject.finding(
                    ("members", name, "devices", index),
                    f"host '{member.host}' has no device {device}",
                    expected=f"one of {', '.join(map(str, known))}" if known else "no devices",
                    seen=str(device),
                    next_step=None if known else f"describe them under hosts.{member.host}.devices",
                )


def double_devices(subject: Subject) -> Iterator[Finding]:
    """No device serves two members, unless the host shares them."""
    taken: dict[tuple[str, int], str] = {}
    for name, member in _at_once(subject).items():
        host = subject.environment.hosts.get(member.host)
        # Who is on standby may take the place of another.
        if host is None or (host.devices and host.devices.shared) or member.standby:
            continue
        for index, device in enumerate(member.devices):
            owner = taken.setdefault((member.host, device), name)
            if owner != name or device in member.devices[:index]:
                yield subject.finding(
                    ("members", name, "devices", index),
                    f"device {device} of host '{member.host}' is used twice",
                    expected="a device of its own for every member",
                    seen=f"device {device} in members.{owner} and members.{name}",
                    next_step=f"set hosts.{member.host}.devices.shared: true if they may share",
                )


def double_ports(subject: Subject) -> Iterator[Finding]:
    """No fixed port is taken twice at one address, counting every port of a range."""
    taken: dict[str, dict[int, tuple[str, str]]] = defaultdict(dict)
    for name, member in _at_once(subject).items():
        host = subject.environment.hosts.get(member.host)
        if host is None or member.url is not None:
            continue
        widths = subject.ports(member) or {}
        for port_name, first in member.ports.items():
            if first == "auto":
                continue
            for port in range(first, first + widths.get(port_name, 1)):
                other = taken[host.address].setdefault(port, (name, port_name))
                if other != (name, port_name):
                    yield subject.finding(
                        ("members", name, "ports", port_name),
                        f"port {port} is used twice on {host.address}",
                        expected="a port of its own, or auto",
                        seen=f"{port} in members.{other[0]}.ports.{other[1]} and {name}.ports.{port_name}",
                        next_step=f"{port_name} takes {widths[port_name]} ports from {first}"
                        if widths.get(port_name, 1) > 1
                        else None,
                    )
                    break


def _at_once(subject: Subject) -> Mapping[str, Member]:
    """The members that run at the same time: a recorded reference is gone before the others start."""
    members = subject.environment.members
    if subject.environment.reference.kind is not ReferenceKind.RECORDED:
        return members
    return {name: member for name, member in members.items() if member.role is not Role.COLOCATED}
