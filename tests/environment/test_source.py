from __future__ import annotations

from pathlib import Path

import pytest

from pdtest.environment.finding import EnvironmentInvalid
from pdtest.environment.scalar import CoreLoader
from pdtest.environment.source import parse, read

FILE = Path("env.yaml")


def refusal(text: str) -> str:
    with pytest.raises(EnvironmentInvalid) as caught:
        parse(text, FILE)
    return str(caught.value)


def test_every_value_knows_its_file_line_and_column() -> None:
    tree = parse("a:\n  b: [1, 22]\n  c: x\n", FILE)
    assert str(tree.position(("a", "b", 1))) == "env.yaml:2:10"
    assert str(tree.position(("a", "c"))) == "env.yaml:3:6"


def test_mappings_and_lists_are_pointed_at_by_their_key() -> None:
    tree = parse("a:\n  b:\n    - 1\n", FILE)
    assert str(tree.position(("a", "b"))) == "env.yaml:2:3"


def test_a_missing_key_is_pointed_at_where_it_belongs() -> None:
    assert str(parse("a:\n  b: {}\n", FILE).position(("a", "b", "c", "d"))) == "env.yaml:2:3"


def test_words_that_yaml_1_1_changes_stay_as_they_are() -> None:
    text = "[on, no, yes, 12:30, 2026-01-01, 1_000, 010]"
    assert parse(f"a: {text}", FILE).data() == {
        "a": ["on", "no", "yes", "12:30", "2026-01-01", "1_000", 10],
    }


def test_numbers_and_nulls_are_those_of_yaml_1_2() -> None:
    tree = parse("a: [1e-4, -1.5, 0x10, 0o17, ~, null, true, .inf, '1', !!str 1]\nb:", FILE)
    assert tree.data() == {
        "a": [1e-4, -1.5, 16, 15, None, None, True, float("inf"), "1", "1"],
        "b": None,
    }


def test_keys_are_always_text() -> None:
    assert parse("env: {1: a, on: b, ~: c}", FILE).data() == {"env": {"1": "a", "on": "b", "~": "c"}}


def test_merge_keys_put_an_anchor_beneath_own_keys() -> None:
    tree = parse("x-base: &base {a: 1, b: 1}\nuse:\n  <<: *base\n  b: 2\n", FILE)
    assert tree.data() == {"use": {"a": 1, "b": 2}}
    assert tree.position(("use", "a")).line == 1


def test_of_several_merged_anchors_the_first_wins() -> None:
    tree = parse("x-1: &one {a: 1}\nx-2: &two {a: 2, b: 2}\nuse: {<<: [*one, *two]}\n", FILE)
    assert tree.data() == {"use": {"a": 1, "b": 2}}


def test_parked_keys_are_dropped_at_the_top_only() -> None:
    assert parse("x-a: 1\nb: {x-c: 2}", FILE).data() == {"b": {"x-c": 2}}


def test_a_key_written_twice_is_refused_with_both_lines() -> None:
    message = refusal("a:\n  b: 1\n  b: 2\n")
    assert "'b' is written twice" in message
    assert "env.yaml:3:3  a.b" in message
    assert "first on line 2" in message


@pytest.mark.parametrize("text", ["a: &x [*x]", "a: &x {b: *x}", "a: &x {<<: *x}"])
def test_an_anchor_inside_itself_is_refused(text: str) -> None:
    assert "env.yaml:1" in refusal(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty file"),
        ("- 1", "a list"),
        ("a: !thing 1", "unknown YAML tag !thing"),
        ("a: !!int x", "not of its tag"),
        ("? [1]\n: 2", "a key must be text"),
        ("a: {<<: 1}", "'<<' merges mappings"),
        ("a: *nowhere", "undefined alias"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_what_is_no_environment_file_is_refused(text: str, said: str) -> None:
    assert said in refusal(text)


def test_variables_in_flow_lists_are_explained() -> None:
    assert "give it a line of its own, or quotes" in refusal("ids: [${GPU}]")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentInvalid, match=r"cannot read .*absent\.yaml"):
        read(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe4")
    with pytest.raises(EnvironmentInvalid, match=r"cannot read .*latin\.yaml"):
        read(tmp_path / "latin.yaml")


def test_the_quick_loader_reads_what_the_slow_one_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Path(__file__).parents[2] / "environments"
    texts = {file: file.read_text(encoding="utf-8") for file in directory.glob("*.yaml")}
    texts[FILE] = "a: &x ['1', 1, \"1\", on, ~]\nb: |\n  text\nc: >-\n  text\nd: *x\ne: {f: 1, 'g': h}\ni:\n"
    assert len(texts) > 1
    quick = {file: parse.__wrapped__(text, file) for file, text in texts.items()}
    monkeypatch.setattr("pdtest.environment.source.QuickLoader", CoreLoader)
    for file, text in texts.items():
        assert quick[file] == parse.__wrapped__(text, file), "values, places, and which had no quotes"
