"""What must hold between the parts of an environment file. Every check yields findings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pdtest.environment.finding import Finding, KeyPath, dotted
from pdtest.environment.nearest import suggestion
from pdtest.environment.schema import (
    ENGINE_ROLES,
    Connector,
    Environment,
    Member,
    Model,
    ReferenceKind,
    Role,
)
from pdtest.environment.source import Located
from pdtest.environment.vocabulary import Vocabulary
from pdtest.errors import PdtestError

#: Names become directories, test ids and parts of references, so they are kept simple.
_MEMBER_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ENVIRONMENT_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An environment under check: its data, where that is written, and the names it may use."""

    environment: Environment
    tree: Located
    vocabulary: Vocabulary | None = None

    def finding(
        self,
        path: KeyPath,
        summary: str,
        *,
        expected: str,
        seen: str,
        next_step: str | None = None,
    ) -> Finding:
        """A finding at ``path``."""
        return Finding(
            summary=summary,
            key=dotted(path),
            position=self.tree.position(path),
            expected=expected,
            seen=seen,
            next_step=next_step,
        )

    def ports(self, member: Member) -> Mapping[str, int] | None:
        """Port names of a member and how many ports each takes; None when that cannot be known.

        A service may need a member's options to tell; where those are wrong, that is found elsewhere.
        """
        term = self.vocabulary.services.get(member.service) if self.vocabulary else None
        try:
            return term.ports(member) if term else None
        except (PdtestError, ValueError):
            return None

    def unknown(self, path: KeyPath, noun: str, name: str, names: Iterable[str]) -> Finding:
        """A finding about a name that is none of ``names``."""
        known = sorted(names)
        return self.finding(
            path,
            f"there is no {noun} '{name}'",
            expected=f"one of {', '.join(known)}" if known else f"no {noun} is known here",
            seen=name,
            next_step=suggestion(name, known),
        )


Check = Callable[[Subject], Iterator[Finding]]


def names(subject: Subject) -> Iterator[Finding]:
    """The environment's and the members' names are simple."""
    if not _ENVIRONMENT_NAME.fullmatch(subject.environment.name):
        yield subject.finding(
            ("name",),
            "an environment's name becomes part of paths and test ids",
            expected="letters, digits, '.', '_' and '-'",
            seen=subject.environment.name,
            next_step="rename the file, or give it a 'name:'",
        )
    for name in subject.environment.members:
        if not _MEMBER_NAME.fullmatch(name):
            yield subject.finding(
                ("members", name),
                "a member's name becomes part of paths and references",
                expected="letters, digits, '_' and '-', not beginning with a digit",
                seen=name,
            )


def parts(subject: Subject) -> Iterator[Finding]:
    """What engines cannot do without is there."""
    if subject.environment.only_stores:
        return
    for key, model in (("model", Model), ("connector", Connector)):
        if key not in subject.environment.model_fields_set:
            required = [name for name, field in model.model_fields.items() if field.is_required()]
            yield subject.finding(
                (key,),
                f"'{key}' is missing",
                expected=f"{key}: with {', '.join(required)}",
                seen="nothing",
                next_step="only an environment whose members all have role: store needs none",
            )


def roles(subject: Subject) -> Iterator[Finding]:
    """There is something to hand over, and someone to take it; or there are stores and nothing else."""
    if subject.environment.only_stores:
        return
    for role in (Role.PREFILL, Role.DECODE):
        if not subject.environment.members_with(role):
            seen = Counter(member.role.value for member in subject.environment.members.values())
            yield subject.finding(
                ("members",),
                f"no member has the role {role}",
                expected=f"at least one member with role: {role}",
                seen=", ".join(f"{count} {name}" for name, count in seen.items()) or "no members",
            )


def hosts(subject: Subject) -> Iterator[Finding]:
    """Members are on hosts that the file describes."""
    known = subject.environment.hosts
    for name, member in subject.environment.members.items():
        if member.host not in known:
            path = ("members", name, "host")
            yield subject.unknown(path, "host", member.host, known)


def urls(subject: Subject) -> Iterator[Finding]:
    """A url belongs to members that run already, and to no others."""
    attached = subject.vocabulary.attached if subject.vocabulary else frozenset({"attach"})
    for name, member in subject.environment.members.items():
        if member.launcher in attached and member.url is None:
            yield subject.finding(
                ("members", name),
                "an attached member needs a url",
                expected="url: http://host:port of the running program",
                seen=f"launcher: {member.launcher} and no url",
            )
        if member.launcher not in attached and member.url is not None:
            yield subject.finding(
                ("members", name, "url"),
                "only attached members have a url",
                expected="ports:, from which the url of a started member follows",
                seen=f"launcher: {member.launcher} and url: {member.url}",
                next_step="set launcher: attach if the program runs already, otherwise drop the url",
            )
        if member.launcher not in attached and member.optional:
            yield subject.finding(
                ("members", name, "optional"),
                "only attached members are optional",
                expected="a member that is left out where its url is empty",
                seen=f"launcher: {member.launcher}",
            )


def reference(subject: Subject) -> Iterator[Finding]:
    """There is a member that gives the colocated answers."""
    environment = subject.environment
    kind, named = environment.reference.kind, environment.reference.member
    engines = environment.members_with(*ENGINE_ROLES)
    candidates = engines if kind is ReferenceKind.BORROWED else environment.members_with(Role.COLOCATED)
    wanted = "an engine" if kind is ReferenceKind.BORROWED else "a member with role: colocated"
    path = ("reference", "member")
    otherwise = environment.reference.otherwise
    if otherwise is not None and otherwise not in engines:
        yield subject.unknown(("reference", "otherwise"), "engine", otherwise, engines)
    if named is None:
        yield from _reference_by_role(subject)
    elif named not in environment.members:
        yield subject.unknown(path, "member", named, candidates)
    elif named not in candidates:
        yield subject.finding(
            path,
            f"'{named}' cannot be the reference",
            expected=f"{wanted}: {', '.join(candidates) or 'there is none'}",
            seen=f"{named} has role: {environment.members[named].role}",
        )


def _reference_by_role(subject: Subject) -> Iterator[Finding]:
    if subject.environment.only_stores:
        return
    colocated = subject.environment.members_with(Role.COLOCATED)
    kind = subject.environment.reference.kind
    if len(colocated) > 1:
        yield subject.finding(
            ("reference", "member"),
            "which colocated member is the reference?",
            expected="reference.member, where there are several",
            seen=", ".join(colocated),
        )
    elif not colocated and kind is ReferenceKind.BORROWED:
        yield subject.finding(
            ("reference", "member"),
            "from whom is the reference borrowed?",
            expected="reference.member: an engine that answers plain requests too",
            seen="no reference.member and no colocated member",
            next_step=f"engines: {', '.join(subject.environment.members_with(*ENGINE_ROLES))}",
        )
    elif not colocated:
        yield subject.finding(
            ("reference", "kind"),
            f"reference.kind: {kind} needs a colocated member",
            expected="a member with role: colocated",
            seen="none",
            next_step="add one, or use reference: {kind: borrowed, member: <an engine>}",
        )
