"""What a member's process is made of: its command, its files, and the code that they name.

A member that stands while somebody works on a connector must be started anew when that connector changed, and
only then. What the code itself imports is not followed: `members.NAME.code` names what else counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from pdtest.launch.kin import OWNER_VARIABLE
from pdtest.services.service import Command

#: Modules that an engine loads by name (vLLM 0.32, config/kv_transfer.py: kv_connector_module_path).
_MODULES: Final = re.compile(r'"kv_connector_module_path"\s*:\s*"([\w.]+)"')
_NOT_ITS_OWN: Final = frozenset({OWNER_VARIABLE})


def made_of(command: Command, code: Iterable[str], root: Path) -> str:
    """A digest of all that decides what the member does. ``code``: further files, folders and modules.

    Paths are relative to ``root``. What is not there counts as absent, and so its appearance as a change.
    """
    digest = hashlib.sha256()
    env = {name: value for name, value in command.env.items() if name not in _NOT_ITS_OWN}
    digest.update(json.dumps([command.argv, env, dict(command.files)], sort_keys=True).encode())
    for path in sorted({*_named_by(command), *_given(code, command, root)}):
        digest.update(str(path).encode())
        digest.update(_content(path))
    return digest.hexdigest()


def _named_by(command: Command) -> Iterator[Path]:
    """Scripts among the arguments, ``python -m`` modules, and connectors that are loaded by module path."""
    for before, word in zip(("", *command.argv), command.argv, strict=False):
        if before == "-m":
            yield from _module(word, command)
        elif word.endswith((".py", ".sh")) and Path(word).is_file():
            yield Path(word)
    for name in _MODULES.findall("\n".join((*command.argv, *command.files.values()))):
        yield from _module(name, command)


def _given(code: Iterable[str], command: Command, root: Path) -> Iterator[Path]:
    for name in code:
        path = root / name
        if path.is_dir():
            yield from path.rglob("*.py")
        elif os.sep in name or path.is_file():
            yield path
        else:
            yield from _module(name, command)


def _module(name: str, command: Command) -> Iterator[Path]:
    """The files of a module: those of the whole package that it is, or that it lies in."""
    parts = name.split(".")
    search: Sequence[str] = [*filter(None, command.env.get("PYTHONPATH", "").split(os.pathsep)), *sys.path]
    spec = None
    for depth in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: depth + 1]), search)
        if spec is None:
            return
        search = list(spec.submodule_search_locations or ())
    if search:
        for folder in search:
            yield from Path(folder).rglob("*.py")
    elif spec is not None and spec.origin is not None:
        own = Path(spec.origin)
        yield from own.parent.glob("*.py") if len(parts) > 1 else (own,)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
