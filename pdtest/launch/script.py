"""The command.sh in a member's directory: the same start, by hand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from pdtest.services.service import Command

_HEADER = """\
#!/usr/bin/env bash
# Starts this member as pdtest did. Where a secret was, the variable that held it is named.
set -eu\
"""
_MASK = "'***'"


def render_script(command: Command, directory: Path, *, variables: Mapping[str, str]) -> str:
    """A bash script that runs ``command`` in ``directory``.

    No secret appears in it, only the one of ``variables`` that holds it, or ``***``.
    """
    names = {value: name for name, value in variables.items() if value in command.secrets}
    masks = {secret: f'"${{{names[secret]}}}"' if secret in names else _MASK for secret in command.secrets}
    needed = [f': "${{{name}:?holds a secret; set it first}}"' for name in sorted(names.values())]
    exports = [f"export {name}={_quote(value, masks)}" for name, value in sorted(command.env.items())]
    argv = " \\\n  ".join(_quote(word, masks) for word in command.argv)
    return "\n".join([_HEADER, *needed, *exports, f"cd {shlex.quote(str(directory))}", f"exec {argv}", ""])


def _quote(text: str, masks: Mapping[str, str]) -> str:
    """``text`` as one word of shell, with each secret in it replaced."""
    longest_first = sorted((secret for secret in masks if secret), key=len, reverse=True)
    if not longest_first:
        return shlex.quote(text)
    parts = re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)
    return "".join(masks[part] if part in masks else shlex.quote(part) for part in parts if part) or "''"
