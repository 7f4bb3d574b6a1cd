"""Holding plain data against a model, with pydantic's findings turned into ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pdtest.environment.finding import Finding, KeyPath, dotted
from pdtest.environment.interpolate import references
from pdtest.environment.nearest import nearest
from pdtest.environment.source import Located

_M = TypeVar("_M", bound=BaseModel)

_UNKNOWN: Final = "extra_forbidden"
_MISSING: Final = "missing"
_CHOICES: Final = frozenset({"enum", "literal_error"})
_LONGEST_SEEN: Final = 80

#: What each of pydantic's error types asks for, in the words of someone editing YAML.
_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "text (quote a number that is meant as text)",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "none_required": "null",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    # In a union with something else: a mapping's unknown keys are findings of their own otherwise.
    "extra_forbidden": "other keys",
    "too_short": "at least {min_length} of them",
    "union_tag_invalid": "{discriminator}: one of {expected_tags}",
    "union_tag_not_found": "{discriminator}: which kind it is",
}


def validate(
    model: type[_M], data: Mapping[str, Any], tree: Located, *, at: KeyPath = (), rendered: bool = True
) -> tuple[_M | None, tuple[Finding, ...]]:
    """``data`` as a ``model``, or None and what is wrong with it.

    ``tree`` knows where things are written, ``at`` is the path of ``data`` in it. Where the data is still
    to be ``rendered``, a reference may stand for a value of any type.
    """
    try:
        return model.model_validate(data), ()
    except ValidationError as error:
        errors = [
            detail
            for detail in error.errors(include_url=False)
            if rendered or not _is_reference(detail["input"])
        ]
        return None, tuple(_findings(model, data, tree, at, errors))


def _findings(
    model: type[BaseModel],
    data: Mapping[str, Any],
    tree: Located,
    at: KeyPath,
    errors: Iterable[ErrorDetails],
) -> Iterator[Finding]:
    """One finding per place: pydantic reports a union once for each of its types."""
    located = [(_path(data, error), error) for error in errors]
    located.sort(key=lambda pair: [str(step) for step in pair[0]])
    mistyped = {_meant(model, path, data) for path, error in located if error["type"] == _UNKNOWN}
    for path, group in groupby(located, key=lambda pair: pair[0]):
        alike = [error for _, error in group]
        if alike[0]["type"] == _UNKNOWN:
            yield _unknown(model, path, data, tree, at)
        elif alike[0]["type"] == _MISSING:
            if path not in mistyped:
                yield _missing(model, path, data, tree, at)
        else:
            yield _wrong(path, tree, at, alike)


def _path(data: Mapping[str, Any], error: ErrorDetails) -> KeyPath:
    """The part of pydantic's location that is in the data; the rest names the types it tried."""
    path: list[str | int] = []
    value: Any = data
    for step in error["loc"]:
        in_mapping = isinstance(value, Mapping) and step in value
        if isinstance(value, Mapping) and not in_mapping and step in value.values():
            continue  # which of several kinds of thing it is, as the key that tells it has it
        in_list = isinstance(value, list) and isinstance(step, int) and step < len(value)
        is_missing = error["type"] == _MISSING and step == error["loc"][-1]
        if not (in_mapping or in_list or is_missing):
            break
        value = None if is_missing else value[step]
        path.append(step)
    return tuple(path)


def _meant(model: type[BaseModel], path: KeyPath, data: Any) -> KeyPath | None:
    """The path that the unknown key at ``path`` was probably meant to be."""
    owner = model_at(model, path[:-1], data)
    close = nearest(str(path[-1]), keys_of(owner)) if owner else None
    return (*path[:-1], close) if close else None


def _unknown(model: type[BaseModel], path: KeyPath, data: Any, tree: Located, at: KeyPath) -> Finding:
    owner = model_at(model, path[:-1], data)
    names = sorted(keys_of(owner).keys() - _INTERNAL) if owner else []
    meant = _meant(model, path, data)
    return Finding(
        summary=f"unknown key '{path[-1]}'",
        key=dotted((*at, *path)),
        position=tree.position((*at, *path), key=True),
        expected=f"one of {', '.join(names)}",
        seen=str(path[-1]),
        next_step=f"did you mean '{meant[-1]}'?" if meant else None,
    )


def _missing(model: type[BaseModel], path: KeyPath, data: Any, tree: Located, at: KeyPath) -> Finding:
    owner = model_at(model, path[:-1], data)
    field = keys_of(owner).get(str(path[-1])) if owner else None
    meaning = f": {field.description}" if field and field.description else ""
    return Finding(
        summary=f"'{path[-1]}' is missing",
        key=dotted((*at, *path)),
        position=tree.position((*at, *path), key=True),
        expected=f"{path[-1]}{meaning}",
        seen="nothing",
    )


def _wrong(path: KeyPath, tree: Located, at: KeyPath, errors: list[ErrorDetails]) -> Finding:
    value = errors[0]["input"]
    choices = [choice for error in errors for choice in _choices(error)]
    close = nearest(value, choices) if isinstance(value, str) else None
    expected = dict.fromkeys(_expectation(error) for error in errors)
    of_key = "[key]" in errors[0]["loc"]
    # The list's name with the index, else the last key, which may have dots of its own.
    name = dotted(path[-2:]) if path and isinstance(path[-1], int) else str(path[-1] if path else "")
    return Finding(
        summary=f"'{name}' is not a key here" if of_key else f"'{name}' cannot be {_shown(value)}",
        key=dotted((*at, *path)),
        position=tree.position((*at, *path)),
        expected=", or ".join(expected),
        seen=f"{_shown(value)} ({_kind(value)})",
        next_step=f"did you mean '{close}'?" if close else None,
    )


def keys_of(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """A model's fields by the keys that a file has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def model_at(model: type[BaseModel], path: KeyPath, data: Any) -> type[BaseModel] | None:
    """The model that describes the value at ``path`` of ``data``, None where it is free-form."""
    kind: Any = model
    for step in path:
        kind = _bare(kind, data)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = keys_of(kind).get(str(step))
            kind = field.annotation if field else None
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            return None
        data = data.get(step) if isinstance(data, Mapping) else None
    kind = _bare(kind, data)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _bare(kind: Any, value: Any) -> Any:
    """A type without its annotations and without `| None`; of a tagged union the one that ``value`` is."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0], value)
    if get_origin(kind) not in (Union, UnionType):
        return kind
    others = [arg for arg in get_args(kind) if arg is not type(None)]
    if len(others) == 1:
        return others[0]
    return next((other for other in others if _is_tagged(other, value)), kind)


def _is_tagged(kind: Any, value: Any) -> bool:
    """Whether a key of ``value`` names this model, as in ``pattern: poisson``."""
    if not (isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, Mapping)):
        return False
    tags = {key: get_args(field.annotation) for key, field in keys_of(kind).items() if field.is_required()}
    return any(value.get(key) in choices for key, choices in tags.items() if choices)


#: Fields that the loader fills, which a file cannot name.
_INTERNAL: Final = frozenset({"source"})


def _choices(error: ErrorDetails) -> list[str]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return re.findall(r"'([^']*)'", expected) if error["type"] in _CHOICES else []


def _expectation(error: ErrorDetails) -> str:
    if error["type"] in _CHOICES:
        return ", ".join(_choices(error))
    known = _EXPECTED.get(error["type"])
    return known.format(**error.get("ctx", {})) if known else error["msg"]


def _is_reference(value: object) -> bool:
    """True for what is only known when the member is rendered, and so cannot be checked yet."""
    return isinstance(value, str) and bool(references(value))


def _kind(value: object) -> str:
    kinds = {str: "text", bool: "a truth value", int: "a number", float: "a number", dict: "a mapping"}
    return "nothing" if value is None else kinds.get(type(value), "a list")


def _shown(value: object) -> str:
    text = "null" if value is None else f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST_SEEN else f"{text[:_LONGEST_SEEN]}..."
