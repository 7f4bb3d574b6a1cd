"""An environment without what differs from run to run and says nothing about speed: ports, paths, words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from pdtest.environment.resolved import dump_resolved
from pdtest.environment.schema import Environment

#: Of the environment. What is not here is what tests do with it, or what people read.
_KEPT: Final = ("hosts", "model", "connector", "members", "links")
#: Of members.
_KEPT_OF_MEMBERS: Final = frozenset(
    {
        "role",
        "service",
        "launcher",
        "host",
        "url",
        "devices",
        "resources",
        "args",
        "env",
        "files",
        "connector",
        "options",
    }
)
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_PORT_KEY: Final = re.compile(r"(^|[-_])ports?$", re.IGNORECASE)
_PORT: Final = re.compile(r"((?:^|//|@)[\w.\-]*[A-Za-z][\w.\-]*|\d+(?:\.\d+){3}|\blocalhost|\]):\d{2,5}\b")
_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})
#: A path from the root, from a home or from here (".pdtest/models/tiny"); its last part is kept.
_PATH: Final = re.compile(r"(?<![\w/.~$}])(?:~?/|\.[^\s/:,;'\"]*/)(?:[^\s/:,;'\"]+/)*([^\s/:,;'\"]+)/?")


def scrubbed(environment: Environment) -> dict[str, Any]:
    """What is left of it, with secrets masked as in the run's environment.resolved.yaml.

    Settings without a value are left out, so that a later pdtest with more of them calls it the same.
    """
    told = yaml.safe_load(dump_resolved(environment))
    kept = {key: told[key] for key in _KEPT if key in told}
    kept["members"] = {name: _member(member) for name, member in told["members"].items()}
    kept["hosts"] = {name: _host(host) for name, host in told["hosts"].items()}
    scrub: dict[str, Any] = _scrub(kept)
    return scrub


def _member(member: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in member.items() if key in _KEPT_OF_MEMBERS}


def _host(host: Mapping[str, Any]) -> dict[str, Any]:
    """Which machine it is counts, unless it is this one: `hardware` says what that is."""
    return {key: value for key, value in host.items() if key != "address" or value not in _LOOPBACK}


def _scrub(value: Any) -> Any:
    if isinstance(value, Mapping):
        children = {key: _scrub(child) for key, child in value.items() if not _PORT_KEY.search(str(key))}
        return {key: child for key, child in children.items() if child not in _NOTHING}
    if isinstance(value, list):
        return [_scrub(child) for child in value]
    if isinstance(value, str):
        return _PATH.sub(r"\1", _PORT.sub(r"\1", value))
    return value
