from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.client.secrets import mask, mask_json


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
