from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pdtest.environment.load import VLLM_STATISTICS, ClientThresholds, Load, Watch


def test_the_defaults_are_those_of_the_client_orchestrated_test() -> None:
    load, watch, limits = Load(), Watch(), ClientThresholds()
    assert (load.requests, load.over_s) == (100, 10.0)
    assert watch.after_load_s == 30.0
    assert (limits.success_rate, limits.kv_transfer_rate) == (0.95, 1.0)
    assert (limits.mean_latency_s, limits.requests_per_s, limits.statistics_age_s) == (5.0, 10.0, 1.0)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("KV (?P<usage", "a regular expression"),
        (r"rank (?P<rank>\d+)", r"a group \(\?P<usage>..\) in percent"),
    ],
)
def test_a_pattern_that_can_tell_nothing_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Watch(pattern=pattern)


@pytest.mark.parametrize("pattern", [VLLM_STATISTICS, r"kv=(?P<tokens>\d+)", r"(?P<usage>\d+)%"])
def test_a_pattern_needs_no_more_than_a_length(pattern: str) -> None:
    assert Watch(pattern=pattern).pattern == pattern


@pytest.mark.parametrize(
    "wrong",
    [{"requests": 0}, {"over_s": 0}, {"spacing": "burst"}, {"prompt": {"sigma": -1}}, {"rate": 10}],
)
def test_what_makes_no_load_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Load.model_validate(wrong)


def test_a_rate_is_a_share() -> None:
    with pytest.raises(ValidationError):
        ClientThresholds(success_rate=95)
