"""Checks of the names that lead out of the file: services, launchers, contracts, references."""

from __future__ import annotations

from collections.abc import Iterator

from pdtest.environment.checks import Subject
from pdtest.environment.finding import Finding
from pdtest.environment.interpolate import references
from pdtest.environment.nearest import suggestion
from pdtest.environment.scenarios import OTHERS, SCENARIOS
from pdtest.environment.validation import validate


def programs(subject: Subject) -> Iterator[Finding]:
    """Services, launchers and port names exist."""
    vocabulary = subject.vocabulary
    if vocabulary is None:
        return
    for service in subject.environment.defaults:
        if service not in vocabulary.services:
            yield subject.unknown(("defaults", service), "service", service, vocabulary.services)
    for name, member in subject.environment.members.items():
        path = ("members", name)
        if member.launcher not in vocabulary.launchers:
            yield subject.unknown((*path, "launcher"), "launcher", member.launcher, vocabulary.launchers)
        if member.service not in vocabulary.services:
            yield subject.unknown((*path, "service"), "service", member.service, vocabulary.services)
        known = subject.ports(member)
        for port in member.ports:
            if known is not None and port not in known:
                yield subject.unknown((*path, "ports", port), f"port of {member.service}", port, known)


def options(subject: Subject) -> Iterator[Finding]:
    """Members' options are those of their service."""
    for name, member in subject.environment.members.items():
        term = subject.vocabulary.services.get(member.service) if subject.vocabulary else None
        if term and term.options:
            at = ("members", name, "options")
            _, findings = validate(term.options, member.options, subject.tree, at=at, rendered=False)
            yield from findings


def contracts(subject: Subject) -> Iterator[Finding]:
    """Contracts exist, and so do the ways of tampering with what they carry."""
    vocabulary = subject.vocabulary
    if vocabulary is None:
        return
    tampers: set[str] = set()
    for index, contract in enumerate(subject.environment.connector.contract):
        if contract not in vocabulary.contracts:
            path = ("connector", "contract", index)
            yield subject.unknown(path, "contract", contract, vocabulary.contracts)
            return
        tampers |= vocabulary.tampers[contract]
    for tamper in subject.environment.tampering:
        if tamper not in tampers:
            yield subject.unknown(("tampering", tamper), "way of tampering", tamper, tampers)


def links(subject: Subject) -> Iterator[Finding]:
    """Links lead from a member to a port of another one."""
    members = subject.environment.members
    for index, link in enumerate(subject.environment.links):
        at = ("links", index)
        for key, name in (("source", link.source), ("target", link.target)):
            if name is not None and name not in members:
                yield subject.unknown((*at, key), "member", name, members)
        ports = subject.ports(members[link.target]) if link.target in members else None
        if ports is not None and link.port not in ports:
            noun = f"port of {members[link.target].service}"
            yield subject.unknown((*at, "port"), noun, link.port, ports)


def scenarios(subject: Subject) -> Iterator[Finding]:
    """Outcomes are declared for scenarios that there are."""
    known = {*SCENARIOS, *OTHERS}
    for name in subject.environment.recovery:
        if name not in known:
            yield subject.unknown(("recovery", name), "scenario", name, known)


def dangling(subject: Subject) -> Iterator[Finding]:
    """`${members.X...}` and the like name what there will be when members are rendered."""
    for path, node in subject.tree.walk():
        if path[0] not in {"members", "connector"} or not isinstance(node.value, str):
            continue
        owner = str(path[1]) if path[0] == "members" else None
        for name in references(node.value):
            if not _is_known(subject, owner, name):
                known = _alike(name, _reference_names(subject, owner))
                yield subject.finding(
                    path,
                    f"${{{name}}} names nothing",
                    expected=f"one of {', '.join(known)}",
                    seen=f"${{{name}}}",
                    next_step=suggestion(name, known),
                )


def _is_known(subject: Subject, owner: str | None, name: str) -> bool:
    root, *rest = name.split(".")
    if root == "self" and owner is None:
        return True  # which member it is, and so what it has, is only known there
    member = owner if root == "self" else rest.pop(0) if root == "members" else None
    if member in subject.environment.members and rest[:1] == ["ports"]:
        ports = subject.ports(subject.environment.members[member])
        return ports is None or rest[1:] in [[port] for port in ports]
    return name in _reference_names(subject, owner)


def _alike(name: str, names: list[str]) -> list[str]:
    """The names under the same root, or all where there is no such root."""
    root = name.partition(".")[0]
    return [known for known in names if known.partition(".")[0] == root] or names


def _reference_names(subject: Subject, owner: str | None) -> list[str]:
    """What a reference in the settings of ``owner`` may name, as services look it up."""
    members = subject.environment.members
    names = ["model.name", "model.path"]
    for name, member in members.items():
        prefixes = [f"members.{name}", *(["self"] if name == owner else [])]
        attributes = ["address", "url", *(f"ports.{port}" for port in subject.ports(member) or member.ports)]
        names += [f"{prefix}.{attribute}" for prefix in prefixes for attribute in attributes]
    if owner is not None:
        names += ["self.dir", "self.name", *(f"self.files.{file}" for file in members[owner].files)]
    return sorted(names)
