from __future__ import annotations

from typing import Any

import pytest

from pdtest.environment.schema import Environment
from pdtest.load.impossible import ImpossibleLoad
from pdtest.load.plan import planned


def environment(load: dict[str, Any], max_model_len: int = 1000) -> Environment:
    return Environment.model_validate(
        {
            "name": "fake",
            "model": {"path": "m", "dtype": "float32", "block_size": 16, "max_model_len": max_model_len},
            "connector": {"contract": ["nixl"]},
            "members": {role: {"role": role, "service": "vllm"} for role in ("prefill", "decode")},
            "load": load,
        },
        strict=False,
    )


def test_by_default_a_hundred_long_tail_prompts_come_in_ten_seconds() -> None:
    plan = planned(environment({}))
    assert (len(plan.arrivals), len(plan.lengths)) == (100, 100)
    assert plan.rate == 10.0
    assert max(plan.arrivals) < 10
    assert max(plan.lengths) == 1000 - 64, "the longest leaves room for its answer"
    assert sorted(plan.lengths)[50] == pytest.approx(94, abs=4)


def test_everything_can_be_said() -> None:
    asked = {
        "requests": 4,
        "over_s": 2,
        "spacing": "even",
        "max_tokens": 10,
        "prompt": {"median": 20, "sigma": 0, "shortest": 5, "longest": 30},
    }
    plan = planned(environment(asked))
    assert plan.arrivals == (0.0, 0.5, 1.0, 1.5)
    assert plan.lengths == (20, 20, 20, 20)


def test_the_model_limits_what_the_environment_asks_for() -> None:
    assert max(planned(environment({"prompt": {"longest": 5000}})).lengths) == 936


def test_a_model_too_short_for_the_answer_is_said() -> None:
    with pytest.raises(ImpossibleLoad) as seen:
        planned(environment({"max_tokens": 60}, max_model_len=64))
    assert "load.max_tokens 60" in str(seen.value)
    assert "lower load.max_tokens" in str(seen.value)
