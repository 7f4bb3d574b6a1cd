"""`${...}` in environment files: variables when a file is loaded, references when a member is rendered.

| written | becomes |
|---|---|
| `${NAME}` | the variable; an error when it is not set |
| `${NAME:-text}` | the variable, or `text` when it is not set or empty |
| `${NAME:?text}` | the variable, or an error that says `text` |
| `$$` | one dollar |
| `${self.ports.http}` | a reference (a name with a dot), kept until ports and directories are known |

An unquoted scalar that is one `${...}` and nothing else takes the type its text would have in YAML.

Between loading and rendering a string may hold both references and dollars that are only text. So that
the two stay apart, dollars in front of what looks like a reference are kept doubled until `resolve`:
`$${self.dir}` in a file is `${self.dir}` for the program, whatever a variable's value contains.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pdtest.environment.finding import Finding, KeyPath, dotted
from pdtest.environment.nearest import suggestion
from pdtest.environment.scalar import scalar
from pdtest.environment.source import Located
from pdtest.errors import PdtestError

Lookup = Mapping[str, Any] | Callable[[str], Any]

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+"
_REFERENCE: Final = re.compile(_NAME)
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)(.*))?", re.DOTALL)
#: A run of dollars before something in braces that reads like a reference: odd runs are references.
_MARKED: Final = re.compile(r"(\$+)\{(" + _NAME + r")\}")


class InterpolationError(PdtestError):
    """A `${...}` that has no value or is not written as it must be."""

    title = "cannot interpolate"


class DanglingReference(PdtestError):
    """A reference such as `${members.x.url}` that names nothing."""

    title = "dangling reference"

    def __init__(self, name: str, names: Mapping[str, Any] | None) -> None:
        self.name = name
        super().__init__(
            f"${{{name}}} names nothing",
            expected="a name that is known where the member is rendered",
            seen=name,
            next_step=suggestion(name, names) if names else None,
        )


@dataclass(frozen=True)
class _Reference:
    name: str


_Piece = str | _Reference


def interpolate(tree: Located, variables: Mapping[str, str]) -> tuple[Located, tuple[Finding, ...]]:
    """``tree`` with its variables filled in, and what could not be."""
    findings: list[Finding] = []
    return _interpolated(tree, variables, (), findings), tuple(findings)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """``text`` with variables filled in and references kept. Raises InterpolationError."""
    return _encoded(_pieces(text, variables))


def escape(text: str) -> str:
    """The way to write ``text`` in a file: ``expand`` gives it back. References stay references."""

    def doubled(run: re.Match[str]) -> str:
        if _MARKED.match(text, run.start()):
            return run[0]
        ambiguous = len(run[0]) > 1 or text.startswith("{", run.end())
        return run[0] * 2 if ambiguous else run[0]

    return re.sub(r"\$+", doubled, text)


def references(text: str) -> tuple[str, ...]:
    """Names of the references in a loaded string."""
    return tuple(found[2] for found in _MARKED.finditer(text) if len(found[1]) % 2)


def resolve(value: Any, lookup: Lookup) -> Any:
    """``value`` with every reference replaced by what ``lookup`` knows under its dotted name.

    Strings, lists, tuples and mappings are searched, keys are left alone. A string that is one reference
    and nothing else takes the value as it is, so a port stays a number. Raises DanglingReference.
    """
    if isinstance(value, str):
        return _resolved(value, lookup)
    if isinstance(value, Mapping):
        return {key: resolve(child, lookup) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(resolve(child, lookup) for child in value)
    return value


def _resolved(text: str, lookup: Lookup) -> Any:
    whole = _MARKED.fullmatch(text)
    if whole and whole[1] == "$":
        return _look_up(whole[2], lookup)

    def filled(found: re.Match[str]) -> str:
        dollars = "$" * (len(found[1]) // 2)
        is_reference = len(found[1]) % 2
        return dollars + (str(_look_up(found[2], lookup)) if is_reference else f"{{{found[2]}}}")

    return _MARKED.sub(filled, text)


def _look_up(name: str, lookup: Lookup) -> Any:
    try:
        return lookup[name] if isinstance(lookup, Mapping) else lookup(name)
    except LookupError as error:
        raise DanglingReference(name, lookup if isinstance(lookup, Mapping) else None) from error


def _interpolated(
    tree: Located, variables: Mapping[str, str], path: KeyPath, findings: list[Finding]
) -> Located:
    if isinstance(tree.value, Mapping):
        children = {k: _interpolated(v, variables, (*path, k), findings) for k, v in tree.value.items()}
        return replace(tree, value=children)
    if isinstance(tree.value, tuple):
        items = (_interpolated(v, variables, (*path, i), findings) for i, v in enumerate(tree.value))
        return replace(tree, value=tuple(items))
    if not isinstance(tree.value, str) or "$" not in tree.value:
        return tree
    try:
        text = expand(tree.value, variables)
    except InterpolationError as error:
        findings.append(
            Finding(
                summary=error.summary,
                key=dotted(path),
                position=tree.at,
                expected=error.expected,
                seen=error.seen,
                next_step=error.next_step,
            )
        )
        return tree
    return replace(tree, value=scalar(text) if tree.plain and _is_one_variable(tree.value) else text)


def _is_one_variable(text: str) -> bool:
    return text.startswith("${") and _end(text, 0) == len(text)


def _pieces(text: str, variables: Mapping[str, str]) -> Iterator[_Piece]:
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        yield text[position:dollar]
        if text.startswith("${", dollar):
            position = _end(text, dollar)
            yield from _value(text[dollar + 2 : position - 1], variables)
        else:
            yield "$"
            position = dollar + (2 if text.startswith("$$", dollar) else 1)
    yield text[position:]


def _value(body: str, variables: Mapping[str, str]) -> Iterator[_Piece]:
    """What `${body}` stands for. Defaults may hold further `${...}`."""
    if _REFERENCE.fullmatch(body):
        yield _Reference(body)
        return
    found = _VARIABLE.fullmatch(body)
    if found is None:
        raise InterpolationError(
            f"${{{body}}} is not a variable or a reference",
            expected="${NAME}, ${NAME:-default}, ${NAME:?message} or ${self.ports.http}",
            seen=f"${{{body}}}",
            next_step="write $$ for a dollar that is meant for the program",
        )
    name, operator, rest = found.groups()
    value = variables.get(name)
    counts = value is not None if operator is None else bool(value)
    if counts:
        yield value or ""
    elif operator == ":-":
        yield from _pieces(rest, variables)
    else:
        raise _unset(name, rest, variables)


def _unset(name: str, message: str | None, variables: Mapping[str, str]) -> InterpolationError:
    state = "set to nothing" if name in variables else "not set"
    return InterpolationError(
        message or f"the variable {name} is {state}",
        expected=f"the environment variable {name}",
        seen=state,
        next_step=f"export {name}=..., or give a default in the file: ${{{name}:-...}}",
    )


def _end(text: str, start: int) -> int:
    """Index after the brace that closes the `${` at ``start``."""
    depth = 0
    position = start
    while position < len(text):
        if text.startswith("$$", position):
            position += 2
        elif text.startswith("${", position):
            depth, position = depth + 1, position + 2
        elif text[position] == "}":
            depth, position = depth - 1, position + 1
            if depth == 0:
                return position
        else:
            position += 1
    raise InterpolationError(
        "a ${ is never closed",
        expected="a } after it",
        seen=text[start:],
        next_step="write $$ for a dollar that is meant for the program",
    )


def _encoded(pieces: Iterator[_Piece]) -> str:
    """One string, with text that only looks like a reference marked by doubled dollars."""
    done = ""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
        else:
            trailing = len(text) - len(text.rstrip("$"))
            done += _marked(text) + "$" * trailing + f"${{{piece.name}}}"
            text = ""
    return done + _marked(text)


def _marked(text: str) -> str:
    return _MARKED.sub(lambda found: found[1] * 2 + f"{{{found[2]}}}", text)
