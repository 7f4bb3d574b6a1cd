from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pdtest.environment.finding import EnvironmentInvalid, Finding
from pdtest.environment.loading import load
from pdtest.environment.schema import Environment, Outcome, Role
from pdtest.environment.vocabulary import Vocabulary

Write = Callable[[str, str], Path]
Findings = Callable[..., tuple[Finding, ...]]

BASE = """\
model: {path: somewhere, dtype: float32, block_size: 32, max_model_len: 2048}
connector: {contract: [nixl]}
reference: {kind: borrowed, member: decode}
members:
  prefill: {role: prefill, service: vllm}
  decode: {role: decode, service: vllm}
"""


def loaded(write: Write, more: str, **variables: str) -> Environment:
    write("base.yaml", BASE)
    return load(write("env.yaml", f"extends: base\n{more}"), variables=variables)


def test_the_name_is_the_files_unless_it_says_otherwise(write: Write) -> None:
    environment = loaded(write, "")
    assert environment.name == "env"
    assert environment.source is not None
    assert environment.source.name == "env.yaml"
    assert loaded(write, "name: other\n").name == "other"


def test_everything_arrives_typed_and_frozen(write: Write) -> None:
    environment = loaded(write, "tampering: {stale: [wrong]}\nthresholds: {settle_s: 3}\n")
    assert environment.members["prefill"].role is Role.PREFILL
    assert environment.tampering == {"stale": (Outcome.WRONG,)}
    assert environment.thresholds.settle_s == 3.0
    with pytest.raises(ValueError, match="frozen"):
        environment.name = "x"


def test_a_port_may_come_from_a_variable(write: Write) -> None:
    more = "members:\n  decode:\n    ports:\n      http: ${DECODE_PORT:-8200}\n"
    assert loaded(write, more).members["decode"].ports == {"http": 8200}
    assert loaded(write, more, DECODE_PORT="9000").members["decode"].ports == {"http": 9000}


def test_defaults_go_beneath_the_members_of_their_service(write: Write) -> None:
    environment = loaded(
        write,
        """\
defaults:
  vllm: {args: {a: 1, b: 1}, env: {X: "1"}, ready_timeout_s: 60}
  other: {args: {z: 1}}
members:
  prefill: {args: {b: 2, c: 2}}
  decode: {args: {a: null, n: null}, ready_timeout_s: 5}
""",
    )
    prefill, decode = environment.members["prefill"], environment.members["decode"]
    assert prefill.args == {"a": 1, "b": 2, "c": 2}
    assert prefill.env == {"X": "1"}
    assert prefill.ready_timeout_s == 60
    assert decode.args == {"b": 1, "n": None}
    assert decode.ready_timeout_s == 5


def test_a_member_dropped_over_its_base_is_gone_from_defaults_too(write: Write) -> None:
    more = "defaults: {vllm: {args: {a: 1}}}\nmembers: {decode: {args: {a: 2}}}\n"
    write("base.yaml", BASE)
    write("middle.yaml", f"extends: base\n{more}")
    file = write("env.yaml", "extends: middle\nmembers: {decode: {args: {a: null}}}\n")
    assert load(file, variables={}).members["decode"].args == {}


def test_the_service_that_defaults_go_by_may_be_a_variable(write: Write) -> None:
    more = """\
defaults: {toy: {args: {a: 1}}}
members:
  decode:
    service: ${SERVICE}
"""
    assert loaded(write, more, SERVICE="toy").members["decode"].args == {"a": 1}


def test_what_many_members_inherit_is_reported_once(write: Write) -> None:
    with pytest.raises(EnvironmentInvalid) as caught:
        loaded(write, "defaults: {vllm: {ready_timeout_s: soon, arsg: {}}}\n")
    assert sorted(finding.seen or "" for finding in caught.value.findings) == ["'soon' (text)", "arsg"]


def test_an_error_in_a_base_names_the_base(write: Write) -> None:
    write("base.yaml", BASE.replace("float32", "float33"))
    with pytest.raises(EnvironmentInvalid) as caught:
        load(write("env.yaml", "extends: base\n"), variables={})
    assert "base.yaml:1:33  model.dtype" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("dtype: float32", "dtyp: float32", "model.dtyp", "did you mean 'dtype'?"),
        ("dtype: float32", "dtype: float23", "model.dtype", "did you mean 'float32'?"),
        ("block_size: 32", "block_size: '32'", "model.block_size", "a whole number"),
        ("block_size: 32", "block_size: 0", "model.block_size", "more than 0"),
        ("  dtype: float32\n", "", "model.dtype", "'dtype' is missing"),
        ("role: decode", "role: decoder", "members.decode.role", "did you mean 'decode'?"),
        ("devices: [1]", "devcies: [1]", "members.decode.devcies", "did you mean 'devices'?"),
        ("devices: [1]", "devices: 1", "members.decode.devices", "a list"),
        ("devices: [1]", "devices: [one]", "members.decode.devices[0]", "a whole number"),
        ("devices: [1]", "ports: {http: any}", "members.decode.ports.http", "a whole number, or auto"),
        ("devices: [1]", "ports: {http: 70000}", "members.decode.ports.http", "65535 or less"),
        ("devices: [1]", "env: {A: [1]}", "members.decode.env.A", "text"),
        ("devices: [1]", "ready_timeout_s: soon", "members.decode.ready_timeout_s", "a number"),
        ("[nixl]", "[]", "connector.contract", "at least 1"),
        ("[nixl]", "[nixl]\n  by_role: {prefil: {}}", "connector.by_role.prefil", "'prefill'"),
        ("model:", "source: x\nmodel:", "source", "unknown key 'source'"),
        ("model:", "modle: {}\nmodel:", "modle", "did you mean 'model'?"),
        ("kind: core", "kind: gpu", "hosts.local.devices.kind", "core, cuda, ascend"),
    ],
)
def test_a_wrong_value_says_what_was_expected_and_where(
    findings: Findings, old: str, new: str, key: str, said: str
) -> None:
    [finding] = findings(old, new)
    assert finding.key == key
    assert said in str(finding)
    assert finding.position is not None


def test_a_mistyped_required_key_is_not_also_missing(findings: Findings) -> None:
    found = findings("dtype: float32", "dtyp: float32\n  dtpye: float32")
    assert [finding.summary for finding in found] == ["unknown key 'dtyp'", "unknown key 'dtpye'"]


def test_missing_variables_are_all_named_before_anything_else(findings: Findings) -> None:
    found = findings("path: somewhere", "path: ${MODEL_DIR}\n  revision: ${REVISION}\n  typo: 1")
    assert [finding.summary for finding in found] == [
        "the variable MODEL_DIR is not set",
        "the variable REVISION is not set",
    ]


def test_several_problems_make_one_message_with_all_of_them(findings: Findings) -> None:
    error = EnvironmentInvalid(findings("block_size: 32", "block_size: x\n  typo: 1"))
    text = str(error)
    assert text.startswith("invalid environment: 2 problems in ")
    assert text.count("expected ") == 2
    assert "unknown key 'typo'" in text


def test_one_problem_reads_as_one_message(findings: Findings) -> None:
    text = str(EnvironmentInvalid(findings("dtype: float32", "dtype: float23")))
    assert text.startswith("invalid environment: 'dtype' cannot be 'float23'\n  where    ")
    assert "env.yaml:3:10  model.dtype\n  expected float32, bfloat16, float16\n" in text


def test_names_are_not_checked_without_a_vocabulary(write: Write, vocabulary: Vocabulary) -> None:
    write("base.yaml", BASE.replace("vllm", "theirs"))
    file = write("env.yaml", "extends: base\n")
    assert load(file, variables={}).members["prefill"].service == "theirs"
    with pytest.raises(EnvironmentInvalid, match="2 problems"):
        load(file, variables={}, vocabulary=vocabulary)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("'vllm <= foo'", "a package's import name and its versions, as in 'vllm<0.24'"),
        ("{need: 'vllm[cpu]'}", "a package's import name and its versions, as in 'vllm<0.24'"),
        ("{need: vllm, wy: b}", "text (quote a number that is meant as text), or other keys"),
    ],
)
def test_a_package_that_cannot_be_read(entry: str, expected: str, write: Write) -> None:
    with pytest.raises(EnvironmentInvalid) as caught:
        loaded(write, f"requires: {{packages: [zmq, {entry}]}}\n")
    (finding,) = caught.value.findings
    assert (finding.key, finding.expected) == ("requires.packages[1]", expected)
