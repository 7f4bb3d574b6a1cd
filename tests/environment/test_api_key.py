from __future__ import annotations

import pytest

from pdtest.environment.api_key import MissingApiKey, api_key
from pdtest.environment.schema import Member, Role


def member(variable: str | None) -> Member:
    return Member(role=Role.DECODE, service="vllm", api_key_env=variable)


def test_the_key_comes_from_the_variable_the_member_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECODE_KEY", "hunter2")
    assert api_key("decode", member("DECODE_KEY")) == "hunter2"
    assert api_key("decode", member(None)) is None


@pytest.mark.parametrize(("value", "seen"), [(None, "not set"), ("", "set to nothing")])
def test_a_variable_without_a_key_is_named_with_its_member_and_what_to_do(
    value: str | None, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DECODE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("DECODE_KEY", value)
    with pytest.raises(MissingApiKey) as caught:
        api_key("decode", member("DECODE_KEY"))
    assert (caught.value.member, caught.value.variable) == ("decode", "DECODE_KEY")
    assert str(caught.value) == (
        f"missing API key: member 'decode' takes its API key from DECODE_KEY, which is {seen}\n"
        "  where    members.decode.api_key_env\n"
        "  expected the key in the environment variable DECODE_KEY\n"
        f"  seen     {seen}\n"
        "  next     export DECODE_KEY=..., or drop api_key_env where the server wants no key"
    )
