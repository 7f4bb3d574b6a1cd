"""Checks of the names that lead out of the file: services, launchers, contracts, references."""

from __future__ import annotations

from collections.abc import Iterator

from pdtest.environment.checks import Subject
from pdtest.environment.finding import Finding, KeyPath
from pdtest.environment.interpolate import references
from pdtest.environment.validation import validate

_ROOTS = ("self", "members", "model")


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


def dangling(subject: Subject) -> Iterator[Finding]:
    """`${members.X...}` and `${self.files.X}` name what is there."""
    for path, node in subject.tree.walk():
        if path[0] not in {"members", "connector"} or not isinstance(node.value, str):
            continue
        for name in references(node.value):
            yield from _dangling(subject, path, name)


def _dangling(subject: Subject, path: KeyPath, name: str) -> Iterator[Finding]:
    members = subject.environment.members
    root, _, rest = name.partition(".")
    if root not in _ROOTS:
        yield subject.unknown(path, "root of references", root, _ROOTS)
    elif root == "members" and rest.partition(".")[0] not in members:
        yield subject.unknown(path, "member", rest.partition(".")[0], members)
    elif root == "self" and rest.startswith("files.") and path[0] == "members":
        file = rest.removeprefix("files.")
        files = members[str(path[1])].files
        if file not in files:
            yield subject.unknown(path, "file of this member", file, files)
