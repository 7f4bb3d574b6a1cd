"""Members that an environment has only where somebody says where they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pdtest.environment.schema import ReferenceKind, Role
from pdtest.environment.source import Located


def without_absent(tree: Located) -> Located:
    """``tree`` without the members that are `optional` and have no url.

    Where the reference's member is one of them, answers are borrowed from `reference.otherwise`.
    """
    members = tree.child("members")
    if members is None or not isinstance(members.value, Mapping) or not isinstance(tree.value, Mapping):
        return tree
    kept = {name: member for name, member in members.value.items() if not _is_absent(member)}
    parts = {**tree.value, "members": replace(members, value=kept)}
    if "reference" in parts:
        parts["reference"] = _reference(parts["reference"], kept)
    return replace(tree, value=parts)


def _is_absent(member: Located) -> bool:
    optional, url = member.child("optional"), member.child("url")
    return optional is not None and optional.value is True and (url is None or url.value is None)


def _reference(reference: Located, members: Mapping[str, Located]) -> Located:
    otherwise, named = reference.child("otherwise"), reference.child("member")
    if otherwise is None or otherwise.value is None or not isinstance(reference.value, Mapping):
        return reference
    if _answers(named.value if named is not None else None, members):
        return reference
    borrowed = {"member": otherwise, "kind": replace(otherwise, value=ReferenceKind.BORROWED.value)}
    return replace(reference, value={**reference.value, **borrowed})


def _answers(named: object, members: Mapping[str, Located]) -> bool:
    """Whether the reference's member is there: the one that is named, else one with the role for it."""
    if named is not None:
        return named in members
    roles = (member.child("role") for member in members.values())
    return any(role is not None and role.value == Role.COLOCATED for role in roles)
