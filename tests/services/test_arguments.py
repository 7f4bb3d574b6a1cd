from __future__ import annotations

from typing import Any

import pytest

from pdtest.services.arguments import flags, variables


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (True, ["--key"]),
        (False, []),
        (None, []),
        (0, ["--key", "0"]),
        (0.5, ["--key", "0.5"]),
        ("", ["--key", ""]),
        ("two words", ["--key", "two words"]),
        (["a", 1, True], ["--key", "a", "1", "true"]),
        (("a", "b"), ["--key", "a", "b"]),
        ([], []),
        ({"a": {"b": [True, None]}}, ["--key", '{"a":{"b":[true,null]}}']),
        ([{"a": 1}, {"b": 2}], ["--key", '{"a":1}', '{"b":2}']),
    ],
)
def test_an_entry_under_args_on_the_command_line(value: Any, becomes: list[str]) -> None:
    assert list(flags({"key": value})) == becomes


def test_flags_keep_the_order_of_the_file() -> None:
    assert list(flags({"b": 1, "a": None, "c": True, "A": 2})) == ["--b", "1", "--c", "--A", "2"]


def test_environment_variables_are_text_and_null_leaves_one_out() -> None:
    given = {"A": 1, "B": True, "C": False, "D": None, "E": "", "F": 0.5}
    assert variables(given) == {"A": "1", "B": "true", "C": "false", "E": "", "F": "0.5"}
