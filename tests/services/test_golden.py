"""The complete command of every member of the environments that come with pdtest.

A change that is meant is written down with `PDTEST_WRITE_GOLDEN=1 pytest tests/services/test_golden.py`.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pdtest.environment.loading import load
from pdtest.environment.schema import Environment
from pdtest.launch.registry import launchers
from pdtest.services.registry import services
from pdtest.services.service import Command
from pdtest.services.serving import serving

from .conftest import placed

GOLDEN = Path(__file__).with_name("golden")
ENVIRONMENTS = Path(__file__).parents[2] / "environments"
#: All but those whose thirty engines are alike, and the parts that others extend.
FILES = [
    file
    for file in sorted(ENVIRONMENTS.glob("*.yaml"))
    if not file.name.startswith("_") and not file.stem.endswith("-8p24d")
]
#: pdtest's own programs that go beside a member are named instead of quoted.
PROGRAMS = {serving(name): f"serving/{name}.py" for name in ("mooncake", "p2p_nccl", "when_up")}


class Readable(yaml.SafeDumper):
    """Config files line by line."""


Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_members_of_an_environment_are_started_with_exactly_this(file: Path) -> None:
    models = {"PDTEST_MODEL": "/models/tiny", "PDTEST_EMBEDDED_MODEL": "/models/embedded"}
    environment = load(file, variables=models)
    commands = {name: started_or_attached(environment, name) for name in environment.members}
    golden = GOLDEN / file.name
    if os.environ.get("PDTEST_WRITE_GOLDEN"):
        golden.write_text(yaml.dump(commands, Dumper=Readable, sort_keys=False, width=110), encoding="utf-8")
    assert golden.exists(), f"no {golden.name} yet: write it with PDTEST_WRITE_GOLDEN=1, and read it"
    assert commands == yaml.safe_load(golden.read_text(encoding="utf-8"))


def test_every_golden_file_belongs_to_an_environment() -> None:
    assert {file.name for file in GOLDEN.iterdir()} <= {file.name for file in FILES}


def started_or_attached(environment: Environment, name: str) -> dict[str, Any]:
    """What starts a member; of one that runs already, where it is asked whether it serves."""
    service, placement = services()[environment.members[name].service], placed(environment, name, services())
    if launchers()[placement.member.launcher].starts:
        return readable(service.render(placement))
    probe = service.probe(placement)
    return {"attached": placement.url, "probe": probe.url, "accept": sorted(probe.accept)}


def readable(command: Command) -> dict[str, Any]:
    """Flags in lines of their own; the interpreter and where programs are installed left out."""
    program, *arguments = command.argv
    lines = [["python" if program == sys.executable else Path(program).name]]
    # In a shell that sources something first, the interpreter comes later.
    for argument in ("python" if argument == sys.executable else argument for argument in arguments):
        if argument.startswith("-"):
            lines.append([argument])
        else:
            lines[-1].append(argument)
    return {
        "argv": [shlex.join(line) for line in lines],
        "env": dict(command.env),
        "files": {name: PROGRAMS.get(text, text) for name, text in command.files.items()},
    }
