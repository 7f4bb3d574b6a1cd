"""Shell scripts that start a member by hand, as pdtest would: the command.sh of a run, and rendered ones."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pdtest.services.service import Command

#: What is filled in for secrets when a script starts is in files with this suffix.
TEMPLATE: Final = ".template"
AS_A_RUN_DID: Final = (
    "Starts this member as pdtest did. Where a secret was, the variable that held it is named.",
)
_MASK = "'***'"


def render_script(
    command: Command,
    directory: Path,
    *,
    variables: Mapping[str, str],
    heading: Sequence[str] = AS_A_RUN_DID,
    checks: Sequence[str] = (),
) -> str:
    """A bash script that runs ``command`` in ``directory``.

    No secret appears in it, only the one of ``variables`` that holds it, or ``***``. ``heading`` are the
    comment at its beginning, ``checks`` lines of bash before anything else happens.
    """
    names = holders(command, variables)
    masks = {secret: f'"${{{names[secret]}}}"' if secret in names else _MASK for secret in command.secrets}
    needed = [f': "${{{name}:?holds a secret; set it first}}"' for name in sorted(names.values())]
    filled = [_fill(name, names) for name, text in command.files.items() if _holds(text, names)]
    exports = [f"export {name}={_quote(value, masks)}" for name, value in sorted(command.env.items())]
    argv = " \\\n  ".join(" ".join(_quote(word, masks) for word in line) for line in lines(command.argv))
    return "\n".join(
        [
            "#!/usr/bin/env bash",
            *(f"# {line}" for line in heading),
            "set -eu",
            *checks,
            *needed,
            *exports,
            f"cd {shlex.quote(str(directory))}",
            *filled,
            f"exec {argv}",
            "",
        ]
    )


def render_files(command: Command, variables: Mapping[str, str]) -> dict[str, str]:
    """The files of ``command`` without secrets, by name.

    Where one has a secret in it, it becomes a template, which the script fills in when it starts.
    """
    names = holders(command, variables)
    rendered: dict[str, str] = {}
    for name, text in command.files.items():
        if _holds(text, names):
            parts = re.split(_any(names), text)
            rendered[name + TEMPLATE] = "".join(
                _place(names[part]) if part in names else part for part in parts
            )
        else:
            rendered[name] = text
    return rendered


def holders(command: Command, variables: Mapping[str, str]) -> dict[str, str]:
    """By secret, the variable that holds it."""
    return {value: name for name, value in variables.items() if value and value in command.secrets}


def lines(argv: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """A command line cut where people would: before each flag, with its values behind it."""
    line: list[str] = []
    for word in argv:
        if line and word.startswith("-"):
            yield tuple(line)
            line = []
        line.append(word)
    if line:
        yield tuple(line)


def _fill(name: str, names: Mapping[str, str]) -> str:
    """Bash that makes a file of its template. The dot keeps the line ends that $(...) would drop."""
    file = shlex.quote(name)
    replaced = "; ".join(
        f'text=${{text//{shlex.quote(_place(variable))}/"${{{variable}}}"}}'
        for variable in sorted(names.values())
    )
    return f'text=$(cat {file}{TEMPLATE}; echo .); {replaced}; (umask 077; printf %s "${{text%.}}" > {file})'


def _place(variable: str) -> str:
    return f"@{variable}@"


def _holds(text: str, names: Mapping[str, str]) -> bool:
    return any(secret in text for secret in names)


def _quote(text: str, masks: Mapping[str, str]) -> str:
    """``text`` as one word of shell, with each secret in it replaced."""
    if not any(masks):
        return shlex.quote(text)
    parts = re.split(_any(masks), text)
    return "".join(masks[part] if part in masks else shlex.quote(part) for part in parts if part) or "''"


def _any(secrets: Mapping[str, str]) -> str:
    longest_first = sorted(filter(None, secrets), key=len, reverse=True)
    return "(" + "|".join(map(re.escape, longest_first)) + ")"
