"""A loaded environment as YAML: what the run used, to be kept with it and loaded again."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import yaml

from pdtest.environment.interpolate import escape
from pdtest.environment.scalar import CoreLoader
from pdtest.environment.schema import Environment


def dump_resolved(environment: Environment, variables: Mapping[str, str] | None = None) -> str:
    """YAML in which everything inherited and interpolated is written out.

    Loading it again gives the same members. A value of a variable that some `api_key_env` names is
    replaced by `${NAME}` wherever it occurs, so secrets stay out and the file still works. ``variables``
    None is the process's environment.
    """
    known = os.environ if variables is None else variables
    names = {member.api_key_env for member in environment.members.values() if member.api_key_env}
    secrets = {known[name]: name for name in sorted(names) if known.get(name)}
    # Defaults are in the members already; merged once more they would bring back what a null dropped.
    absent = {"model", "connector"} if environment.only_stores else set()
    data = environment.model_dump(mode="json", exclude={"defaults", "source", *absent})
    return dump(_written(data, secrets))


def dump(data: Mapping[str, Any]) -> str:
    """YAML that loads as ``data``, keys in their order."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text


def _written(value: Any, secrets: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _written(child, secrets) for key, child in value.items()}
    if isinstance(value, list):
        return [_written(child, secrets) for child in value]
    if isinstance(value, str):
        return _masked(value, secrets)
    # An unquoted variable may have become a number on loading.
    return f"${{{secrets[str(value)]}}}" if str(value) in secrets else value


def _masked(text: str, secrets: Mapping[str, str]) -> str:
    if not secrets:
        return escape(text)
    longest_first = sorted(secrets, key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, longest_first))})", text)
    return "".join(f"${{{secrets[part]}}}" if part in secrets else escape(part) for part in parts)


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or 1.2, or a variable on its own, would read as something else."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's API
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
            *CoreLoader.yaml_implicit_resolvers.get(first, []),
        ]
        for first in yaml.SafeDumper.yaml_implicit_resolvers.keys()
        | CoreLoader.yaml_implicit_resolvers.keys()
    }

    def ignore_aliases(self, data: Any) -> bool:
        """Equal values are written out each time: anchors are for authors."""
        del data
        return True


_Dumper.add_implicit_resolver("!variable", re.compile(r"\$\{.*\}$"), ["$"])
