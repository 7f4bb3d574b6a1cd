"""From a YAML file to a frozen environment.

A stage runs only when the one before found nothing: text, variables, types, references. A later stage
would mostly report consequences of what an earlier one found.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from pdtest.environment import checks, naming, occupancy, reach, routers
from pdtest.environment.extends import Composer, merge, prune
from pdtest.environment.finding import EnvironmentInvalid, Finding, in_file_order
from pdtest.environment.interpolate import interpolate
from pdtest.environment.optional import without_absent
from pdtest.environment.resolved import dump_resolved
from pdtest.environment.schema import Environment, MemberDefaults
from pdtest.environment.source import Located
from pdtest.environment.validation import validate
from pdtest.environment.vocabulary import Vocabulary

__all__ = ["dump_resolved", "load"]

_CHECKS: Final[tuple[checks.Check, ...]] = (
    checks.names,
    checks.parts,
    checks.roles,
    checks.hosts,
    reach.ways,
    reach.one_way,
    reach.placed_by_ray,
    reach.relays,
    reach.senders,
    checks.urls,
    checks.reference,
    routers.hybrids,
    routers.standby,
    routers.topologies,
    occupancy.devices,
    occupancy.double_devices,
    occupancy.double_ports,
    naming.programs,
    naming.options,
    naming.contracts,
    naming.links,
    naming.scenarios,
    naming.dangling,
)


def load(
    path: Path | str,
    *,
    vocabulary: Vocabulary | None = None,
    variables: Mapping[str, str] | None = None,
    search: Sequence[Path] = (),
) -> Environment:
    """The environment in ``path``. Raises EnvironmentInvalid with everything that is wrong in it.

    ``vocabulary`` None leaves names of services, launchers and contracts unchecked; ``variables`` None is
    the process's environment; ``search`` are directories in which `extends:` finds bases by name.
    """
    file = Path(path)
    known = os.environ if variables is None else variables
    tree = Composer(search=tuple(search), variables=known).compose(file)
    filled, missing = interpolate(tree, known)
    _raise(missing)
    complete = without_absent(prune(_with_defaults(filled)))
    data = complete.data()
    data.setdefault("name", file.stem)
    environment, wrong = validate(Environment, data, complete)
    _raise([*wrong, *_internal(complete)])
    assert environment is not None  # noqa: S101 - without findings there is one
    subject = checks.Subject(environment=environment, tree=complete, vocabulary=vocabulary)
    _raise([finding for check in _CHECKS for finding in check(subject)])
    return environment.model_copy(update={"source": file})


def _with_defaults(tree: Located) -> Located:
    """Every member on top of the `defaults:` of its service."""
    members, defaults = tree.child("members"), tree.child("defaults")
    if members is None or defaults is None or not isinstance(members.value, Mapping):
        return tree
    assert isinstance(tree.value, Mapping)  # noqa: S101 - it has children
    merged = {name: _over_defaults(member, defaults) for name, member in members.value.items()}
    return replace(tree, value={**tree.value, "members": replace(members, value=merged)})


def _over_defaults(member: Located, defaults: Located) -> Located:
    service = member.child("service")
    beneath = defaults.child(str(service.value)) if service else None
    if beneath is None or not isinstance(beneath.value, Mapping) or not isinstance(member.value, Mapping):
        return member
    # A key that defaults cannot have is reported where it is written, not once more for each member.
    fields = MemberDefaults.model_fields
    inherited = {key: value for key, value in beneath.value.items() if key in fields}
    return merge(replace(beneath, value=inherited), member)


def _internal(tree: Located) -> list[Finding]:
    """`source` is a field for the loader's use, and to a file an unknown key like any other."""
    if tree.child("source") is None:
        return []
    position = tree.position(("source",), key=True)
    return [Finding(summary="unknown key 'source'", key="source", position=position, seen="source")]


def _raise(findings: Sequence[Finding]) -> None:
    if findings:
        raise EnvironmentInvalid(in_file_order(findings))
