from __future__ import annotations

import re

import pytest

from pdtest.environment.schema import Member, Role
from pdtest.services.service import LogRules, base_url

RULES = LogRules(
    error=re.compile("ERROR"),
    harmless=(re.compile("retrying"),),
    ending=re.compile("told to end"),
    beginning=re.compile("hello"),
)


@pytest.mark.parametrize(
    ("lines", "errors"),
    [
        (["fine", "ERROR 1", "ERROR retrying"], ["ERROR 1"]),
        (["ERROR 1", "told to end", "ERROR 2"], ["ERROR 1"]),
        (["told to end", "ERROR 1", "hello", "ERROR 2"], ["ERROR 2"]),
        (["hello", "ERROR 1"], ["ERROR 1"]),
        (["told to end", "hello, told to end", "ERROR 1"], []),
        ([], []),
    ],
)
def test_what_a_program_complains_of_after_it_was_told_to_end_is_no_error(
    lines: list[str], errors: list[str]
) -> None:
    assert RULES.errors(lines) == errors


def test_without_rules_for_ending_every_error_counts() -> None:
    assert LogRules(error=re.compile("ERROR")).errors(["told to end", "ERROR"]) == ["ERROR"]


@pytest.mark.parametrize(
    ("url", "address", "ports", "becomes"),
    [
        (None, "127.0.0.1", {"side": 1, "http": 8000}, "http://127.0.0.1:8000"),
        (None, "::1", {"http": 8000}, "http://[::1]:8000"),
        (None, "box", {"meta": 5001, "config": 5000}, "tcp://box:5000"),
        (None, "box", {}, ""),
        ("https://engine.example/v", "box", {"http": 8000}, "https://engine.example/v"),
    ],
)
def test_where_a_member_answers(url: str | None, address: str, ports: dict[str, int], becomes: str) -> None:
    member = Member(role=Role.DECODE, service="vllm", url=url)
    assert base_url(member, address, ports) == becomes
