from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdtest.environment.loading import dump_resolved, load
from pdtest.environment.schema import Connector, Environment, Member, Model, Reference, ReferenceKind, Role

text = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from("${} :-#'\"\n"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(text, children, max_size=3),
    max_leaves=6,
)


def environment(**settings: object) -> Environment:
    return Environment(
        name="env",
        model=Model(path="m", dtype="float32", block_size=32, max_model_len=64),
        connector=Connector(contract=("nixl",)),
        reference=Reference(kind=ReferenceKind.BORROWED, member="decode"),
        members={
            "prefill": Member.model_validate({"role": Role.PREFILL, "service": "vllm", **settings}),
            "decode": Member(role=Role.DECODE, service="vllm"),
        },
    )


def reloaded(dumped: str, directory: Path, variables: dict[str, str]) -> Environment:
    file = directory / "environment.resolved.yaml"
    file.write_text(dumped, encoding="utf-8")
    return load(file, variables=variables).model_copy(update={"source": None})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(st.dictionaries(text, json_values, max_size=3))
def test_a_resolved_file_loads_as_the_same_environment(tmp_path: Path, args: dict[str, object]) -> None:
    before = environment(args=args)
    if "${" not in str(args):  # text that reads as a reference is one, and dangles here
        assert reloaded(dump_resolved(before, {}), tmp_path, {}) == before


@pytest.mark.parametrize("value", ["1e-4", "on", "8100", "~", "0o17", "${HOME}", "$${self.dir}", "a$$b", ""])
def test_text_that_looks_like_something_else_stays_text(tmp_path: Path, value: str) -> None:
    before = environment(args={"a": value})
    assert reloaded(dump_resolved(before, {}), tmp_path, {}) == before


@pytest.mark.parametrize("secret", ["s3cret/+", "12345", "1e-4", "true"])
def test_secrets_never_appear_and_the_file_still_works(tmp_path: Path, secret: str) -> None:
    variables = {"API_KEY": secret, "OTHER": "plain"}
    before = environment(
        api_key_env="API_KEY", env={"TOKEN": secret}, args={"header": [f"Bearer {secret}", "$$"]}
    )
    dumped = dump_resolved(before, variables)
    assert secret not in dumped
    assert "Bearer ${API_KEY}" in dumped
    assert reloaded(dumped, tmp_path, variables) == before


def test_secrets_that_became_numbers_do_not_appear_either() -> None:
    dumped = dump_resolved(environment(api_key_env="API_KEY", args={"key": 12345}), {"API_KEY": "12345"})
    assert "12345" not in dumped


def test_the_resolved_file_shows_what_was_not_written() -> None:
    data = yaml.safe_load(dump_resolved(environment(), {}))
    assert data["members"]["decode"]["ready_timeout_s"] == 600.0
    assert data["thresholds"]["settle_s"] == 10.0
    assert "defaults" not in data
