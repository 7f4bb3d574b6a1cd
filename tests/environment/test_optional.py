from __future__ import annotations

from pathlib import Path

import pytest

from pdtest.environment.finding import EnvironmentInvalid
from pdtest.environment.loading import dump_resolved, load
from pdtest.environment.schema import Environment, ReferenceKind

ATTACHED = """\
model: {path: somewhere, dtype: float32, block_size: 32, max_model_len: 2048}
connector: {contract: [nixl]}
members:
  prefill: {role: prefill, service: vllm, launcher: attach, url: "http://a:1"}
  decode: {role: decode, service: vllm, launcher: attach, url: "http://b:1"}
  colocated:
    role: colocated
    service: vllm
    launcher: attach
    optional: true
    url: ${REFERENCE_URL:-}
  proxy:
    role: proxy
    service: command
    launcher: attach
    optional: true
    url: ${PROXY_URL:-}
reference: {member: colocated, otherwise: decode}
"""


def loaded(tmp_path: Path, text: str = ATTACHED, **variables: str) -> Environment:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return load(file, variables=variables)


def test_members_without_a_url_are_left_out_and_the_reference_is_borrowed(tmp_path: Path) -> None:
    environment = loaded(tmp_path)
    assert list(environment.members) == ["prefill", "decode"]
    reference = environment.reference
    assert (reference.kind, reference.member) == (ReferenceKind.BORROWED, "decode")


def test_the_reference_need_not_be_named(tmp_path: Path) -> None:
    unnamed = ATTACHED.replace("member: colocated, ", "")
    assert loaded(tmp_path, unnamed).reference.member == "decode"
    environment = loaded(tmp_path, unnamed, REFERENCE_URL="http://c:1")
    assert environment.reference.kind is ReferenceKind.MEMBER


def test_what_is_written_out_can_be_loaded_again(tmp_path: Path) -> None:
    environment = loaded(tmp_path, PROXY_URL="http://d:1")
    assert loaded(tmp_path, dump_resolved(environment)) == environment


def test_members_with_a_url_are_there(tmp_path: Path) -> None:
    environment = loaded(tmp_path, REFERENCE_URL="http://c:1", PROXY_URL="http://d:1")
    assert list(environment.members) == ["prefill", "decode", "colocated", "proxy"]
    reference = environment.reference
    assert (reference.kind, reference.member) == (ReferenceKind.MEMBER, "colocated")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("optional: true\n    url: ${PROXY_URL:-}", "url: ${PROXY_URL:-}", "an attached member needs a url"),
        ("otherwise: decode", "otherwise: decod", "there is no engine 'decod'"),
        (", otherwise: decode", "", "there is no member 'colocated'"),
        (
            'prefill: {role: prefill, service: vllm, launcher: attach, url: "http://a:1"}',
            "prefill: {role: prefill, service: vllm, optional: true, ports: {http: 1}, url: null}",
            "no member has the role prefill",
        ),
        (
            'launcher: attach, url: "http://a:1"',
            'optional: true, url: "http://a:1"',
            "only attached members are optional",
        ),
    ],
)
def test_what_makes_no_sense_is_found(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in ATTACHED
    with pytest.raises(EnvironmentInvalid) as refused:
        loaded(tmp_path, ATTACHED.replace(old, new))
    assert message in str(refused.value)
