from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from pdtest.embedded.engine.sampling import Sampler, report_prompt, reported
from pdtest.embedded.engine.sequence import Logprob
from pdtest.embedded.model.exact import log_softmax

from .sequences import sequence

EOS = 0
LOGITS = np.array([0.5, 2.0, 1.0, 4.0, 3.0, -8.0])
PROBABILITIES = np.exp(log_softmax(LOGITS))


def sampler(*, engine_seed: int = 0, id: str = "cmpl-r-0", **sampling: Any) -> Sampler:  # noqa: A002
    return Sampler(sequence([3], id=id, **sampling), eos_id=EOS, seed=engine_seed)


def draws(count: int = 3000, **options: Any) -> list[int]:
    one = sampler(temperature=1.0, **options)
    return [one.choose(LOGITS) for _ in range(count)]


def test_greedy_takes_the_best_and_of_equals_the_first() -> None:
    assert sampler().choose(LOGITS) == 3
    assert sampler(temperature=1e-6).choose(LOGITS) == 3
    assert sampler().choose(np.array([1.0, 7.0, 7.0])) == 1


def test_temperature_one_draws_by_probability() -> None:
    seen = Counter(draws())
    for token, probability in enumerate(PROBABILITIES):
        assert abs(seen[token] / 3000 - probability) < 0.03


def test_a_low_temperature_prefers_the_best() -> None:
    one = sampler(temperature=0.25)
    share = Counter(one.choose(LOGITS) for _ in range(1000))[3] / 1000
    assert share > 0.95


def test_top_k_and_top_p_leave_the_best() -> None:
    assert set(draws(top_k=2)) == {3, 4}
    assert set(draws(top_k=1)) == {3}
    assert set(draws(top_p=0.01)) == {3}
    assert set(draws(top_p=float(PROBABILITIES[3]) + 0.05)) == {3, 4}
    assert set(draws(top_k=3, top_p=1.0)) == {1, 3, 4}


@pytest.mark.parametrize("top_k", [-1, 0])
def test_no_top_k_keeps_all(top_k: int) -> None:
    assert {0, 1, 2, 3, 4} <= set(draws(top_k=top_k))


def test_a_seed_decides_by_itself() -> None:
    same = draws(20, seed=5, id="cmpl-a-0")
    assert draws(20, seed=5, id="cmpl-b-1", engine_seed=9) == same
    assert draws(20, seed=6, id="cmpl-a-0") != same


def test_without_a_seed_the_request_and_the_engine_decide() -> None:
    same = draws(20, id="cmpl-a-0")
    assert draws(20, id="cmpl-a-0") == same
    assert draws(20, id="cmpl-b-0") != same
    assert draws(20, id="cmpl-a-1") != same
    assert draws(20, id="cmpl-a-0", engine_seed=1) != same


def test_bias_is_added_before_choosing() -> None:
    before = LOGITS.copy()
    assert sampler(logit_bias={5: 100.0}).choose(LOGITS) == 5
    assert sampler(logit_bias={3: -100.0}).choose(LOGITS) == 4
    assert 3 not in draws(200, logit_bias={3: -100.0})
    assert np.array_equal(LOGITS, before)


def test_before_min_tokens_nothing_ends_it() -> None:
    one = sequence([3], min_tokens=2, stop_token_ids=frozenset({3, 4}), logit_bias={EOS: 100.0})
    choosing = Sampler(one, eos_id=EOS, seed=0)
    assert choosing.choose(LOGITS) == 1
    one.output += [1, 1]
    assert choosing.choose(LOGITS) == EOS


def test_min_tokens_does_not_forbid_an_eos_that_is_ignored() -> None:
    one = sequence([3], min_tokens=2, ignore_eos=True, logit_bias={EOS: 100.0})
    assert Sampler(one, eos_id=EOS, seed=0).choose(LOGITS) == EOS


def test_reports_the_chosen_one_and_the_best() -> None:
    chosen, best = reported(LOGITS, 2, 3)
    assert (chosen.token, chosen.rank) == (2, 4)
    assert chosen.logprob == pytest.approx(float(np.log(PROBABILITIES[2])))
    assert [(one.token, one.rank) for one in best] == [(3, 1), (4, 2), (1, 3)]
    assert reported(LOGITS, 3, 0) == (Logprob(3, best[0].logprob, 1), ())
    assert len(reported(LOGITS, 3, -1)[1]) == len(LOGITS)


def test_the_prompts_report_is_filled_once_in_order() -> None:
    one = sequence([3, 1, 4, 2], prompt_logprobs=1)
    rows = np.stack([LOGITS] * 4)
    report_prompt(one, 0, rows[:2])
    report_prompt(one, 0, rows[:1])  # again, after a preemption
    assert len(one.prompt_logprobs) == 3
    report_prompt(one, 2, rows[:2])
    assert one.prompt_logprobs[0] is None
    own = [entry[0].token for entry in one.prompt_logprobs if entry]
    assert own == [1, 4, 2]
    assert [entry[1].token for entry in one.prompt_logprobs if entry] == [3, 3, 3]
