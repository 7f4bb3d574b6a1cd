"""What an unquoted word means: the YAML 1.2 core schema.

PyYAML follows 1.1, where `on` and `no` are truth values, `12:30` is 750, `2026-01-01` a date and
`1e-4` text. Environment files carry flags, addresses and tolerances, so those rules would change
values silently; 1.2 is also what editors check against.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import yaml

Plain = str | int | float | bool | None

MERGE_TAG: Final = "tag:yaml.org,2002:merge"

_Rule = tuple[str, re.Pattern[str], str, Callable[[str], Plain]]


def _integer(text: str) -> int:
    return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)


def _number(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


#: Tag, words it takes, their possible first characters, conversion. The first rule that matches wins.
_RULES: Final[tuple[_Rule, ...]] = (
    ("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)$"), "~nN", lambda _: None),
    (
        "tag:yaml.org,2002:bool",
        re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"),
        "tTfF",
        lambda text: text.lower() == "true",
    ),
    (
        "tag:yaml.org,2002:int",
        re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"),
        "-+0123456789",
        _integer,
    ),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$"),
        "-+.0123456789",
        _number,
    ),
)

#: How the text of a node becomes a value, by the node's tag.
CONVERSIONS: Final[Mapping[str, Callable[[str], Plain]]] = {
    "tag:yaml.org,2002:str": str,
    **{tag: convert for tag, _, _, convert in _RULES},
}


def scalar(text: str) -> Plain:
    """What an unquoted ``text`` means: null, a truth value, a number or itself."""
    for _, words, _, convert in _RULES:
        if words.match(text):
            return convert(text)
    return text


class CoreLoader(yaml.SafeLoader):
    """SafeLoader with the core schema's rules in place of its own."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's API


class QuickLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # may be without libyaml
    """The same on libyaml where PyYAML has it: ten times as fast, with vaguer words for what is wrong."""

    yaml_implicit_resolvers = CoreLoader.yaml_implicit_resolvers


for _tag, _words, _first, _ in _RULES:
    CoreLoader.add_implicit_resolver(_tag, _words, [*_first, ""] if _tag.endswith("null") else list(_first))
CoreLoader.add_implicit_resolver(MERGE_TAG, re.compile(r"<<$"), ["<"])
