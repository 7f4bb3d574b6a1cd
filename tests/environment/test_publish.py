from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pdtest.environment.publish import json_schema
from pdtest.environment.source import parse


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema()


def options(schema: dict[str, Any], definition: str, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = schema["$defs"][definition]["properties"][key]["anyOf"]
    return found


def test_it_is_json(schema: dict[str, Any]) -> None:
    assert json.loads(json.dumps(schema)) == schema


def test_unknown_keys_are_refused_and_parked_ones_are_not(schema: dict[str, Any]) -> None:
    assert schema["additionalProperties"] is False
    assert "^x-" in schema["patternProperties"]
    assert all(not d.get("additionalProperties", False) for d in schema["$defs"].values())


def test_extends_and_no_internal_field_is_offered(schema: dict[str, Any]) -> None:
    assert "extends" in schema["properties"]
    assert "source" not in schema["properties"]


def test_a_number_may_be_a_variable_or_dropped(schema: dict[str, Any]) -> None:
    types = [option.get("type") for option in options(schema, "Model", "block_size")]
    assert types == ["integer", "string", "null"]


def test_a_mapping_may_not_be_a_variable(schema: dict[str, Any]) -> None:
    assert [set(option) for option in schema["properties"]["model"]["anyOf"]] == [{"$ref"}, {"type"}]


def test_keys_come_with_what_they_mean(schema: dict[str, Any]) -> None:
    described = schema["$defs"]["Member"]["properties"]
    assert described["service"]["description"].startswith("what kind of program")
    assert described["role"] != {}


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("extends: base", True),
        ("extends: [a, b]\nx-park: {a: 1}\nmembers: {decode: null}", True),
        ("extends: base\nmembers: {decode: {args: {a: null}, ready_timeout_s: '${T}'}}", True),
        ("extends: base\nmembers: {decode: {ports: {http: '${PORT:-8100}', b: auto, c: 1}}}", True),
        ("extends: base\nmembers: {decode: {role: '${ROLE}'}}", True),
        ("extends: base\ntampering: {stale: [right, hang]}", True),
        ("extends: base\nmembers: {decode: {ports: {http: abc}}}", False),
        ("extends: base\nmembers: {decode: {rol: decode}}", False),
        ("extends: base\nmembers: {decode: {role: decoder}}", False),
        ("extends: base\ntampering: {stale: [rihgt]}", False),
        ("typo: 1\nextends: base", False),
        ("members: {}", False),
        ("members: {pool: {role: store, service: embedded-store}}", True),
        ("members: {pool: {role: store, service: x}, decode: {role: decode, service: x}}", False),
        ("model: {}\nconnector: {}\nmembers: {decode: {role: decode, service: x}}", True),
    ],
)
def test_editors_accept_what_loads_and_mark_what_does_not(
    schema: dict[str, Any], text: str, *, valid: bool
) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="only where a JSON Schema validator is installed")
    data = parse(text, Path("env.yaml")).data()
    assert jsonschema.Draft202012Validator(schema).is_valid(data) is valid
