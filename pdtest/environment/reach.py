"""Checks of hosts that are reached over ssh, and of what cannot be there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pdtest.environment.checks import Subject
from pdtest.environment.finding import Finding

_SSH: Final = "ssh"
_LOCAL: Final = "local"


def ways(subject: Subject) -> Iterator[Finding]:
    """Members are started over ssh where the host says how to get there, and nowhere else."""
    for name, member in subject.environment.members.items():
        host = subject.environment.hosts.get(member.host)
        if host is None:
            continue
        path = ("members", name, "launcher")
        if member.launcher == _SSH and host.ssh is None:
            yield subject.finding(
                path,
                f"host '{member.host}' does not say how to get there",
                expected=f"hosts.{member.host}.ssh, if only an empty one: ssh: {{}}",
                seen="no ssh",
            )
        if member.launcher == _LOCAL and host.ssh is not None:
            yield subject.finding(
                path,
                f"'{name}' is on host '{member.host}', which is reached over ssh",
                expected="launcher: ssh",
                seen=f"launcher: {member.launcher}",
                next_step="or put it on a host without ssh:, which is this machine",
            )


def relays(subject: Subject) -> Iterator[Finding]:
    """Links that can be broken lead to members of this machine: that is where their relays listen."""
    members = subject.environment.members
    for index, via in enumerate(subject.environment.links):
        target = members.get(via.target)
        if target is not None and target.launcher == _SSH:
            yield subject.finding(
                ("links", index, "target"),
                f"a link to '{via.target}' cannot go through a relay: it runs on host '{target.host}'",
                expected="a member that is started on this machine",
                seen=f"launcher: {target.launcher}",
                next_step="leave the link out; on that host, nftables or tc can break it",
            )
