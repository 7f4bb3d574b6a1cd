"""The JSON Schema of environment files, for editors.

Editors see one file at a time, before variables and inheritance. So the published schema takes a string
with `${` wherever a number or a choice belongs, `null` wherever an inherited key may be dropped, and asks
for required keys only at the top of files that extend nothing. `pdtest env check` sees the whole.
"""

from __future__ import annotations

from typing import Any, Final

from pdtest.environment.extends import KEY
from pdtest.environment.schema import Environment
from pdtest.environment.source import PARKED

_Schema = dict[str, Any]

_INTERPOLATED: Final[_Schema] = {"type": "string", "pattern": r"\$\{", "description": "${VARIABLE}"}
_NULL: Final[_Schema] = {"type": "null"}
_EXTENDS: Final[_Schema] = {
    "description": "file relative to this one or environment's name, to go beneath; of several the last wins",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}
_ABOUT: Final[tuple[str, ...]] = ("description", "default")
#: Keys of which a file need not speak: the loader fills them or takes them from the file's name.
_FILLED: Final = frozenset({"name", "source"})
#: Keys that every file needs, but for those of stores alone (`checks.parts`).
_OF_ENGINES: Final = ("model", "connector")
_ONLY_STORES: Final[_Schema] = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"properties": {"role": {"const": "store"}}, "required": ["role"]},
}


def json_schema() -> _Schema:
    """The schema, as plain data (draft 2020-12)."""
    schema = Environment.model_json_schema()
    lenient = _Lenient(schema["$defs"])
    properties = lenient.model(schema)["properties"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pdtest environment",
        "description": schema["description"],
        "type": "object",
        "properties": {KEY: _EXTENDS, **{k: v for k, v in properties.items() if k != "source"}},
        "patternProperties": {f"^{PARKED}": {"description": "parked anchors; ignored"}},
        "additionalProperties": False,
        "anyOf": [
            {"required": [KEY]},
            {"required": [*(key for key in schema["required"] if key not in _FILLED), *_OF_ENGINES]},
            {"required": ["members"], "properties": {"members": _ONLY_STORES}},
        ],
        "$defs": {name: lenient.model(value) for name, value in schema["$defs"].items()},
    }


class _Lenient:
    """Rewrites pydantic's schema of loaded data into one of what may stand in a file."""

    def __init__(self, definitions: _Schema) -> None:
        self._definitions = definitions

    def model(self, schema: _Schema) -> _Schema:
        """A model in which every property may be interpolated or dropped."""
        kept = {key: value for key, value in schema.items() if key not in {"required", "title"}}
        if "properties" in kept:
            kept["properties"] = {k: self.droppable(v) for k, v in kept["properties"].items()}
        return kept

    def droppable(self, schema: _Schema) -> _Schema:
        """``schema`` or null."""
        return _either(self.value(schema), _NULL)

    def value(self, schema: _Schema) -> _Schema:
        """``schema``, or text that becomes such a value once variables are filled in."""
        kept = {key: value for key, value in schema.items() if key != "title"}
        if "anyOf" in kept:
            kept["anyOf"] = [self._untitled(option) for option in kept["anyOf"]]
        if "items" in kept:
            kept["items"] = self.value(kept["items"])
        if isinstance(kept.get("additionalProperties"), dict):
            kept["additionalProperties"] = self.droppable(kept["additionalProperties"])
        return _either(kept, _INTERPOLATED) if self._is_scalar(kept) else kept

    def _untitled(self, schema: _Schema) -> _Schema:
        return {key: value for key, value in schema.items() if key != "title"}

    def _is_scalar(self, schema: _Schema) -> bool:
        """True for numbers, truth values and choices, which a plain string would not match."""
        if "$ref" in schema:
            return self._is_scalar(self._definitions[schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return any(self._is_scalar(option) for option in schema["anyOf"])
        if "enum" in schema or "const" in schema:
            return True
        return schema.get("type") in {"integer", "number", "boolean"}


def _either(schema: _Schema, other: _Schema) -> _Schema:
    """``schema`` or ``other``, with the description where editors look for it."""
    rest = dict(schema)
    about = {key: rest.pop(key) for key in _ABOUT if key in rest}
    options = rest.get("anyOf", [rest] if rest else [])
    return {**about, "anyOf": [*options, other]} if options and other not in options else schema
