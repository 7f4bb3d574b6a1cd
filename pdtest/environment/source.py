"""YAML text as a tree that knows where each value was written. Keys are always text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pdtest.environment.finding import EnvironmentInvalid, Finding, KeyPath, Position
from pdtest.environment.scalar import CONVERSIONS, MERGE_TAG, CoreLoader, Plain, QuickLoader

#: Top-level keys that start so are for parking anchors and are dropped.
PARKED: Final = "x-"


_KINDS: Final = {MappingNode: "mapping", SequenceNode: "list", ScalarNode: "single value"}


class Mark(Enum):
    """Stands in the tree for a key that `null` removed from what was inherited."""

    DROPPED = "dropped"


@dataclass(frozen=True, kw_only=True)
class Located:
    """A value with the place it was written at.

    ``plain`` is true for scalars without quotes, whose type YAML decides. ``key_at`` is where the key
    of a mapping's value stands.
    """

    value: Plain | tuple[Located, ...] | Mapping[str, Located] | Mark
    at: Position
    key_at: Position | None = None
    plain: bool = False

    def data(self) -> Any:
        """The value as plain dicts, lists and scalars."""
        if isinstance(self.value, Mapping):
            return {key: child.data() for key, child in self.value.items()}
        if isinstance(self.value, tuple):
            return [child.data() for child in self.value]
        return self.value

    def child(self, step: str | int) -> Located | None:
        """The value under a key or index, None when there is none."""
        if isinstance(self.value, Mapping) and isinstance(step, str):
            return self.value.get(step)
        if isinstance(self.value, tuple) and isinstance(step, int) and 0 <= step < len(self.value):
            return self.value[step]
        return None

    def known(self, path: KeyPath) -> tuple[KeyPath, Located]:
        """The longest beginning of ``path`` that exists here, and what is there."""
        node = self
        for depth, step in enumerate(path):
            child = node.child(step)
            if child is None:
                return path[:depth], node
            node = child
        return path, node

    def position(self, path: KeyPath, *, key: bool = False) -> Position:
        """Where the value at ``path`` is written; for what is missing, where it belongs.

        For mappings and lists, and with ``key``, the place of the key.
        """
        _, node = self.known(path)
        of_key = key or isinstance(node.value, Mapping | tuple)
        return node.key_at if of_key and node.key_at else node.at

    def walk(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Located]]:
        """Every scalar below, with its path."""
        if isinstance(self.value, Mapping):
            for key, child in self.value.items():
                yield from child.walk((*path, key))
        elif isinstance(self.value, tuple):
            for index, child in enumerate(self.value):
                yield from child.walk((*path, index))
        else:
            yield path, self


def read(file: Path) -> Located:
    """Parse ``file``. Raises EnvironmentInvalid when it is not readable or not YAML."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentInvalid(
            [Finding(summary=f"cannot read {file}", expected="a YAML file in UTF-8", seen=str(error))]
        ) from error
    return parse(text, file)


@cache
def parse(text: str, file: Path) -> Located:
    """The tree of a file's ``text``, without its top-level ``x-`` keys.

    Kept: most environments extend others, and each is looked at for its marks before it is loaded.
    """
    try:
        node = _composed(text)
    except yaml.YAMLError as error:
        raise EnvironmentInvalid([_syntax(error, text, file)]) from error
    if not isinstance(node, MappingNode):
        raise EnvironmentInvalid(
            [
                Finding(
                    summary="an environment file is a mapping",
                    position=_Reader(file).position(node) if node else Position(file=file, line=1, column=1),
                    expected="keys such as model:, connector: and members:",
                    seen="an empty file" if node is None else f"a {_KINDS[type(node)]}",
                )
            ]
        )
    reader = _Reader(file)
    tree = reader.mapping(node, ())
    if reader.findings:
        raise EnvironmentInvalid(reader.findings)
    return Located(
        value={key: child for key, child in tree.items() if not key.startswith(PARKED)},
        at=reader.position(node),
    )


def _composed(text: str) -> Node | None:
    try:
        return yaml.compose(text, Loader=QuickLoader)
    except yaml.YAMLError:
        return yaml.compose(text, Loader=CoreLoader)  # which says better what is wrong


class _Reader:
    """Turns the nodes of one file into located values and collects what is wrong with them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.findings: list[Finding] = []
        self._inside: list[Node] = []

    def position(self, node: Node) -> Position:
        mark = node.start_mark
        return Position(file=self.file, line=mark.line + 1, column=mark.column + 1)

    def value(self, node: Node, path: tuple[str, ...], key_at: Position | None) -> Located:
        at = self.position(node)
        if isinstance(node, ScalarNode):
            return Located(value=self._scalar(node, path), at=at, key_at=key_at, plain=not node.style)
        if any(node is outer for outer in self._inside):
            self._report(node, path, "an anchor refers to itself", expected="a value that ends somewhere")
            return Located(value=None, at=at, key_at=key_at)
        if isinstance(node, SequenceNode):
            self._inside.append(node)
            items = tuple(self.value(item, path, None) for item in node.value)
            self._inside.pop()
            return Located(value=items, at=at, key_at=key_at)
        assert isinstance(node, MappingNode)  # noqa: S101 - the only kind that is left
        return Located(value=self.mapping(node, path), at=at, key_at=key_at)

    def mapping(self, node: MappingNode, path: tuple[str, ...]) -> dict[str, Located]:
        """The node's keys over those that `<<` merges in. Merging is shallow, as YAML has it."""
        self._inside.append(node)
        own: dict[str, Located] = {}
        inherited: dict[str, Located] = {}
        for key_node, value_node in node.value:
            if key_node.tag == MERGE_TAG:
                for base in self._bases(value_node, path):
                    inherited = {**self.mapping(base, path), **inherited}
            elif isinstance(key_node, ScalarNode):
                key = key_node.value
                if key in own:
                    self._duplicate(key_node, (*path, key), own[key])
                own[key] = self.value(value_node, (*path, key), self.position(key_node))
            else:
                self._report(
                    key_node, path, "a key must be text", expected="text", seen=f"a {_KINDS[type(key_node)]}"
                )
        self._inside.pop()
        return {**inherited, **own}

    def _bases(self, node: Node, path: tuple[str, ...]) -> list[MappingNode]:
        """What a `<<` names, in order of precedence."""
        candidates = node.value if isinstance(node, SequenceNode) else [node]
        bases = [base for base in candidates if isinstance(base, MappingNode)]
        if len(bases) < len(candidates) or any(base is outer for base in bases for outer in self._inside):
            self._report(
                node, (*path, "<<"), "'<<' merges mappings", expected="*anchor of a mapping or a list of such"
            )
            return []
        return bases

    def _scalar(self, node: ScalarNode, path: tuple[str, ...]) -> Plain:
        convert = CONVERSIONS.get(node.tag)
        if convert is None:
            self._report(node, path, f"unknown YAML tag {node.tag}", expected="a value without a tag")
            return None
        try:
            return convert(node.value)
        except ValueError:
            self._report(node, path, "the value is not of its tag", expected=node.tag, seen=node.value)
            return None

    def _duplicate(self, node: Node, path: tuple[str, ...], first: Located) -> None:
        line = (first.key_at or first.at).line
        self._report(node, path, f"key '{path[-1]}' is written twice", seen=f"first on line {line}")

    def _report(
        self,
        node: Node,
        path: tuple[str, ...],
        summary: str,
        *,
        expected: str | None = None,
        seen: str | None = None,
    ) -> None:
        self.findings.append(
            Finding(
                summary=summary,
                key=".".join(path),
                position=self.position(node),
                expected=expected,
                seen=seen,
            )
        )


def _syntax(error: yaml.YAMLError, text: str, file: Path) -> Finding:
    mark = getattr(error, "problem_mark", None)
    line = mark.line if mark else 0
    lines = text.splitlines()
    written = lines[line].strip() if line < len(lines) else ""
    hint = "inside [..] and {..} YAML wants quotes around ${...}: give it a line of its own, or quotes"
    return Finding(
        summary=f"not valid YAML: {getattr(error, 'problem', None) or error}",
        position=Position(file=file, line=line + 1, column=(mark.column if mark else 0) + 1),
        seen=written or None,
        next_step=hint if "${" in written else None,
    )
