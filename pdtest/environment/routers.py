"""Checks of what routers decide about: hybrid members, members on standby, topologies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pdtest.environment.checks import Subject
from pdtest.environment.finding import Finding
from pdtest.environment.schema import ENGINE_ROLES, Role

#: Programs of which nothing is known, so neither is what they cannot do.
_UNKNOWN: Final = frozenset({"command"})
#: What loads on the whole environment are called, and on its colocated member.
_TAKEN: Final = frozenset({"pd", "single"})
#: Roles that need nobody else.
_ALONE: Final = frozenset({Role.COLOCATED, Role.HYBRID})


def hybrids(subject: Subject) -> Iterator[Finding]:
    """Some proxy sends hybrid members requests: one that knows the role, or that nobody knows."""
    environment = subject.environment
    proxies = environment.members_with(Role.PROXY)
    if subject.vocabulary is None or not proxies:
        return
    known = {one.service: subject.vocabulary.services.get(one.service) for one in proxies.values()}
    if any(name in _UNKNOWN or term is None or term.hybrids for name, term in known.items()):
        return
    alone = {name for one in environment.performance.topologies.values() for name in one.members}
    for name in environment.members_with(Role.HYBRID):
        if name not in alone:
            yield subject.finding(
                ("members", name, "role"),
                f"nobody sends requests to '{name}'",
                expected="a proxy that knows hybrid instances: embedded-proxy",
                seen=", ".join(f"{proxy} is a {one.service}" for proxy, one in proxies.items()),
                next_step=f"make '{name}' a prefill or decode member, or have another proxy",
            )


def standby(subject: Subject) -> Iterator[Finding]:
    """Who is on standby can be started, and is not needed before."""
    environment = subject.environment
    attached = subject.vocabulary.attached if subject.vocabulary else frozenset({"attach"})
    resting = {name: member for name, member in environment.members.items() if member.standby}
    for name, member in resting.items():
        if member.launcher in attached:
            yield subject.finding(
                ("members", name, "standby"),
                "a member that runs already is not on standby",
                expected="a member that pdtest starts",
                seen=f"launcher: {member.launcher}",
            )
        if name in {environment.reference.member, environment.reference.otherwise}:
            yield subject.finding(
                ("members", name, "standby"),
                f"'{name}' is the reference, which is asked from the first test on",
                expected="a reference that runs",
                seen="standby: true",
            )
    for role in (Role.PREFILL, Role.DECODE):
        members = environment.members_with(role)
        if members and all(name in resting for name in members):
            yield subject.finding(
                ("members", next(iter(members)), "standby"),
                f"all {role} members are on standby",
                expected=f"at least one member with role: {role} that runs from the start",
                seen=", ".join(members),
            )


def topologies(subject: Subject) -> Iterator[Finding]:
    """There are several to compare, and each can serve."""
    found = subject.environment.performance.topologies
    at = ("performance", "topologies")
    if len(found) == 1:
        yield subject.finding(
            at, "one topology alone is not compared", expected="two or more", seen=", ".join(found)
        )
    for name, topology in found.items():
        if name in _TAKEN:
            yield subject.finding(
                (*at, name),
                f"'{name}' is what other loads are called",
                expected="a name of its own",
                seen=name,
                next_step="mixed, two, three",
            )
        unknown = [one for one in topology.members if one not in subject.environment.members]
        for one in unknown:
            path = (*at, name, "members", topology.members.index(one))
            yield subject.unknown(path, "member", one, subject.environment.members)
        if not unknown:
            yield from _can_serve(subject, name, topology.members)


def _can_serve(subject: Subject, name: str, members: tuple[str, ...]) -> Iterator[Finding]:
    path = ("performance", "topologies", name, "members")
    roles = {subject.environment.members[one].role for one in members}
    engines = roles & ENGINE_ROLES
    seen = ", ".join(f"{one} is {subject.environment.members[one].role}" for one in members)
    if not engines:
        yield subject.finding(path, f"nobody serves in '{name}'", expected="engines", seen=seen)
    elif Role.PROXY not in roles and not engines <= _ALONE and engines != {Role.PREFILL, Role.DECODE}:
        yield subject.finding(
            path,
            f"nobody decides in '{name}' who gets a request",
            expected="a proxy among them; without one, colocated and hybrid ones, or prefill and decode",
            seen=seen,
        )
