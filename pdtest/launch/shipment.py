"""The supervisor's sources, packed so that a bare Python on a host runs them from its standard input."""

from __future__ import annotations

import json
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

#: In an order in which each imports only those before it.
_PACKAGES: Final = ("pdtest", "pdtest.launch", "pdtest.launch.agents")
_MODULES: Final = (
    "pdtest.whole",
    "pdtest.launch.kin",
    "pdtest.launch.vitals",
    "pdtest.launch.reaper",
    "pdtest.launch.session",
    "pdtest.launch.claims",
    "pdtest.launch.device_claims",
    "pdtest.launch.agents.wire",
    "pdtest.launch.agents.logs",
    "pdtest.launch.agents.premises",
    "pdtest.launch.agents.net",
    "pdtest.launch.agents.supervisor",
)
#: What it says, and nothing more, when the interpreter is too old.
TOO_OLD: Final = "pdtest-python-too-old "
OLDEST: Final = (3, 10)

_START: Final = (
    f"import sys,json;sys.version_info>={OLDEST} or sys.exit('{TOO_OLD}'+sys.version.split()[0]);"
    "shipment=json.loads(sys.stdin.buffer.readline());exec(shipment['unpack'])"
)
_UNPACK: Final = """
import types
for name, source in shipment["modules"]:
    module = sys.modules[name] = types.ModuleType(name)
    if source is None:
        module.__path__ = []
    else:
        exec(compile(source, f"<{name}>", "exec"), module.__dict__)
sys.modules["pdtest.launch.agents.supervisor"].main(shipment["settings"])
"""


def start_command(python: str) -> str:
    """The shell command that runs what is sent to it. ``python``: a name or path; ``~/`` is home there."""
    home = "~/" if python.startswith("~/") else ""
    # -I, -S: neither the user's variables nor site-packages can change what runs.
    return f"exec {home}{shlex.quote(python.removeprefix(home))} -I -S -c {shlex.quote(_START)}"


def packed(settings: dict[str, Any]) -> bytes:
    """The first line on the standard input of `start_command`. ``settings``: of the supervisor's `main`."""
    modules = [(name, None) for name in _PACKAGES] + [(name, _source(name)) for name in _MODULES]
    shipment = {"unpack": _UNPACK, "modules": modules, "settings": settings}
    return json.dumps(shipment).encode() + b"\n"


def _source(name: str) -> str:
    found = find_spec(name)
    assert found is not None  # noqa: S101 - it is ours
    assert found.origin is not None  # noqa: S101
    return Path(found.origin).read_text(encoding="utf-8")
