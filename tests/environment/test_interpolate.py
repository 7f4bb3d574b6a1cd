from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pdtest.environment.interpolate import (
    DanglingReference,
    InterpolationError,
    escape,
    expand,
    interpolate,
    references,
    resolve,
)
from pdtest.environment.source import parse

NAMES = {"self.dir": "/run", "self.ports.http": 8100, "members.prefill.url": "http://p"}

#: Text dense in the characters that mean something here.
tricky = st.lists(
    st.sampled_from(["$", "{", "}", "${", "$$", ":-", "A", "self.dir", "{self.dir}", "${self.dir}", " "])
).map("".join)


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        ("${HOST}", "box"),
        ("http://${HOST}:${PORT}/", "http://box:80/"),
        ("${ABSENT:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
        ("${EMPTY}", ""),
        ("${HOST:-fallback}", "box"),
        ("${HOST:?must be set}", "box"),
        ("${ABSENT:-${HOST}}-${ABSENT:-}", "box-"),
        ("${ABSENT:-a:-b}", "a:-b"),
        ("$$HOST and $${HOST}", "$HOST and ${HOST}"),
        ("$HOST costs 5$", "$HOST costs 5$"),
        ("${self.dir}/${HOST}", "${self.dir}/box"),
        ("${ABSENT:-${self.dir}}", "${self.dir}"),
    ],
)
def test_variables(written: str, becomes: str) -> None:
    assert expand(written, {"HOST": "box", "PORT": "80", "EMPTY": ""}) == becomes


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("${ABSENT}", "the variable ABSENT is not set"),
        ("${ABSENT:?point it at the model}", "point it at the model"),
        ("${EMPTY:?}", "EMPTY is set to nothing"),
        ("${HOME", "never closed"),
        ("${}", "not a variable or a reference"),
        ("${HOME%/}", "not a variable or a reference"),
        ("${1}", "not a variable or a reference"),
    ],
)
def test_what_has_no_value_is_refused(written: str, said: str) -> None:
    with pytest.raises(InterpolationError, match=said.replace("$", r"\$")):
        expand(written, {"HOME": "/root", "EMPTY": ""})


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        ("${PORT}", 8100),
        ("${ABSENT:-8100}", 8100),
        ("${ABSENT:-1e-4}", 1e-4),
        ("${ABSENT:-true}", True),
        ("${ABSENT:-}", None),
        ('"${PORT}"', "8100"),
        ("'${PORT}'", "8100"),
        ("1${PORT}", "18100"),
        ("${PORT}${PORT}", "81008100"),
        ("${ABSENT:-a b}", "a b"),
    ],
)
def test_an_unquoted_variable_on_its_own_takes_its_yaml_type(written: str, becomes: Any) -> None:
    tree, findings = interpolate(parse(f"a: {written}", Path("env.yaml")), {"PORT": "8100"})
    assert not findings
    value = tree.data()["a"]
    assert (type(value), value) == (type(becomes), becomes)


def test_every_variable_that_is_missing_is_found_with_its_place() -> None:
    _, findings = interpolate(parse("a: ${X}\nb:\n  - ok\n  - ${Y}\n", Path("env.yaml")), {})
    assert [(finding.key, finding.position and finding.position.line) for finding in findings] == [
        ("a", 1),
        ("b[1]", 4),
    ]
    assert "export X=" in str(findings[0].next_step)


@given(tricky)
@example("$$${self.dir}")
def test_escaped_text_comes_back(text: str) -> None:
    loaded = expand(escape(text), {})
    assert loaded == text


@given(tricky, tricky)
def test_a_variables_value_is_never_taken_for_a_reference(value: str, around: str) -> None:
    plain = around.replace("$", "")
    loaded = expand(f"${{V}}{plain}${{self.dir}}", {"V": value})
    assert resolve(f"x{loaded}", NAMES) == f"x{value}{plain}/run"


@given(st.integers(0, 6))
def test_pairs_of_dollars_before_a_reference_are_text(pairs: int) -> None:
    loaded = expand("$$" * pairs + "${self.dir}" + "$$" * pairs + "{self.dir}", {})
    expected = "$" * pairs + "/run" + "$" * pairs + "{self.dir}"
    assert resolve(f"x{loaded}", NAMES) == f"x{expected}"


def test_references_resolve_in_nested_data() -> None:
    value = {"a": ["${self.dir}/x", 1], "b": {"c": ("${members.prefill.url}",)}, "${self.dir}": None}
    assert resolve(value, NAMES) == {
        "a": ["/run/x", 1],
        "b": {"c": ("http://p",)},
        "${self.dir}": None,
    }


def test_a_reference_on_its_own_keeps_the_type_of_what_it_names() -> None:
    assert resolve("${self.ports.http}", NAMES) == 8100
    assert resolve(":${self.ports.http}", NAMES) == ":8100"


def test_a_dangling_reference_names_the_nearest_one() -> None:
    with pytest.raises(DanglingReference) as caught:
        resolve({"a": "${members.prefil.url}"}, NAMES)
    assert "${members.prefil.url} names nothing" in str(caught.value)
    assert "did you mean 'members.prefill.url'?" in str(caught.value)


def test_lookups_may_be_functions() -> None:
    def lookup(name: str) -> str:
        if name == "self.dir":
            return "/run"
        raise KeyError(name)

    assert resolve("${self.dir}", lookup) == "/run"
    with pytest.raises(DanglingReference, match=r"\$\{self.other\} names nothing"):
        resolve("${self.other}", lookup)


def test_references_are_listed() -> None:
    loaded = expand("${members.a.url},$${members.b.url},${self.files.mooncake.json}", {})
    assert references(loaded) == ("members.a.url", "self.files.mooncake.json")
