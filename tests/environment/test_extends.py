from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.environment.extends import Composer, merge, prune
from pdtest.environment.finding import EnvironmentInvalid, Position
from pdtest.environment.source import Located

Write = Callable[[str, str], Path]

AT = Position(file=Path("env.yaml"), line=1, column=1)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    def grow(children: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
        return st.dictionaries(st.sampled_from("abc"), children, max_size=3)

    return grow(st.recursive(leaves | st.lists(st.integers(), max_size=2), grow, max_leaves=8))


values = nested(st.integers())
mappings = nested(st.integers() | st.none())


def located(value: Any) -> Located:
    if isinstance(value, dict):
        return Located(value={key: located(child) for key, child in value.items()}, at=AT)
    if isinstance(value, list):
        return Located(value=tuple(located(child) for child in value), at=AT)
    return Located(value=value, at=AT)


def merged(base: Any, over: Any) -> Any:
    return prune(merge(located(base), located(over))).data()


def composed(file: Path, *search: Path, **variables: str) -> Located:
    return prune(Composer(search=search, variables=variables).compose(file))


def test_mappings_merge_and_lists_are_replaced() -> None:
    base = {"args": {"a": 1, "b": 2}, "devices": [0, 1]}
    assert merged(base, {"args": {"b": 3, "c": 4}, "devices": [2]}) == {
        "args": {"a": 1, "b": 3, "c": 4},
        "devices": [2],
    }


def test_null_drops_what_was_inherited() -> None:
    assert merged({"args": {"a": 1, "b": 2}}, {"args": {"a": None}}) == {"args": {"b": 2}}


def test_null_with_nothing_to_drop_is_a_value() -> None:
    assert merged({}, {"config": {"a": None}}) == {"config": {"a": None}}


def test_what_was_dropped_stays_dropped_over_a_deeper_base() -> None:
    middle = merge(located({"a": 1}), located({"a": None}))
    assert prune(merge(located({"a": 0, "b": 0}), middle)).data() == {"b": 0}


@given(mappings)
def test_merging_with_nothing_changes_nothing(tree: dict[str, Any]) -> None:
    assert merged(tree, {}) == tree
    assert merged({}, tree) == tree


@given(values, values)
def test_merging_the_same_file_again_changes_nothing(base: dict[str, Any], over: dict[str, Any]) -> None:
    once = merge(located(base), located(over))
    assert prune(merge(once, located(over))).data() == prune(once).data()


@given(mappings, mappings)
def test_what_the_upper_file_says_holds(base: dict[str, Any], over: dict[str, Any]) -> None:
    result = merged(base, over)
    for key, value in over.items():
        if not isinstance(value, dict) and not (value is None and key in base):
            assert result[key] == value


def test_a_base_is_found_beside_the_file(write: Write) -> None:
    write("parts/base.yaml", "a: 1\nb: 1\n")
    file = write("env.yaml", "extends: parts/base.yaml\nb: 2\n")
    assert composed(file).data() == {"a": 1, "b": 2}


def test_a_base_is_found_by_name(write: Write) -> None:
    base = write("shipped/embedded.yaml", "a: 1\n")
    file = write("mine/env.yaml", "extends: embedded\n")
    assert composed(file, base.parent).data() == {"a": 1}


def test_an_environment_may_extend_a_shipped_one_of_its_own_name(write: Write) -> None:
    shipped = write("shipped/embedded.yaml", "a: 1\n")
    file = write("mine/embedded.yaml", "extends: embedded\nb: 2\n")
    assert composed(file, file.parent, shipped.parent).data() == {"a": 1, "b": 2}


def test_of_several_bases_the_last_wins(write: Write) -> None:
    write("one.yaml", "a: 1\nb: 1\n")
    write("two.yaml", "b: 2\n")
    assert composed(write("env.yaml", "extends: [one, two]\n")).data() == {"a": 1, "b": 2}


def test_the_base_may_come_from_a_variable(write: Write) -> None:
    write("gpu.yaml", "a: 1\n")
    assert composed(write("env.yaml", "extends: ${KIND}\n"), KIND="gpu").data() == {"a": 1}


def test_positions_lead_to_the_file_where_the_value_was_written(write: Write) -> None:
    base = write("base.yaml", "\nmodel:\n  path: x\n  dtype: y\n")
    file = write("env.yaml", "extends: base.yaml\nmodel:\n  dtype: z\n")
    tree = composed(file)
    assert tree.position(("model", "path")).file.name == base.name
    assert tree.position(("model", "path")).line == 3
    assert tree.position(("model", "dtype")) == Position(file=file, line=3, column=10)


def test_a_base_that_is_not_there_is_named_with_the_nearest(write: Write) -> None:
    write("embedded.yaml", "a: 1\n")
    with pytest.raises(EnvironmentInvalid) as caught:
        composed(write("env.yaml", "a: 1\nextends: embeded\n"))
    assert "there is no 'embeded'" in str(caught.value)
    assert "env.yaml:2:10" in str(caught.value)
    assert "did you mean 'embedded'?" in str(caught.value)


@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_a_circle_is_shown(write: Write, names: list[str]) -> None:
    for name, following in zip(names, [*names[1:], names[0]], strict=True):
        write(f"{name}.yaml", f"extends: {following}.yaml\n")
    file = write("start.yaml", "extends: a.yaml\n")
    with pytest.raises(EnvironmentInvalid) as caught:
        composed(file)
    assert "extends goes in a circle" in str(caught.value)
    assert str(caught.value).count("a.yaml ->") == 1


@pytest.mark.parametrize("written", ["1", "{a: b}", "[a, 1]", "[[a]]", "~"])
def test_extends_takes_names_only(write: Write, written: str) -> None:
    write("a.yaml", "a: 1\n")
    with pytest.raises(EnvironmentInvalid, match="extends names files or environments"):
        composed(write("env.yaml", f"extends: {written}\n"))
