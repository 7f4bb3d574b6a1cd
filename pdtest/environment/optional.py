"""Members that an environment has only where somebody says where they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pdtest.environment.schema import ReferenceKind
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
    if otherwise is None or not isinstance(reference.value, Mapping):
        return reference
    if named is None or named.value in members:
        return reference
    borrowed = {"member": otherwise, "kind": replace(otherwise, value=ReferenceKind.BORROWED.value)}
    return replace(reference, value={**reference.value, **borrowed})
