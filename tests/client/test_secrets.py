from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.client.secrets import MissingApiKey, api_key, mask, mask_json


def test_key_comes_from_the_variable_the_member_names() -> None:
    assert api_key("decode", "KEY", {"KEY": "s3cret"}) == "s3cret"
    assert api_key("decode", None, {}) is None


@pytest.mark.parametrize("environ", [{}, {"KEY": ""}])
def test_variable_that_is_not_set(environ: dict[str, str]) -> None:
    with pytest.raises(MissingApiKey, match="api_key_env") as caught:
        api_key("decode", "KEY", environ)
    assert (caught.value.member, caught.value.variable) == ("decode", "KEY")


def test_longer_secret_goes_first() -> None:
    assert mask("abc ab", {"ab", "abc"}) == "*** ***"


def test_empty_secret_masks_nothing() -> None:
    assert mask("abc", {""}) == "abc"


def test_json_is_masked_in_depth() -> None:
    value = {"key-x": ["x", {"a": ("an x", 1, None, True)}]}
    assert mask_json(value, frozenset({"x"})) == {"key-***": ["***", {"a": ["an ***", 1, None, True]}]}


@settings(max_examples=50, deadline=None)
@given(st.text("ab", max_size=20), st.sets(st.text("ab", min_size=1, max_size=4)))
def test_no_secret_survives(text: str, secrets: set[str]) -> None:
    masked = mask(text, secrets)
    assert not any(secret in masked for secret in secrets)
