from __future__ import annotations

import pytest

from pdtest.client.request import Request

TOKENS = Request.tokens([1, 2, 3])


def test_completion_of_token_ids() -> None:
    assert TOKENS.path == "/v1/completions"
    assert TOKENS.prompt_tokens == 3
    assert TOKENS.body("tiny") == {
        "model": "tiny",
        "prompt": [1, 2, 3],
        "max_tokens": 16,
        "temperature": 0.0,
        "stream": False,
        "return_token_ids": True,
        "logprobs": 2,
        "return_tokens_as_token_ids": True,
    }


def test_text_is_sent_as_text() -> None:
    request = Request.text("hello", logprobs=None)
    assert request.prompt_tokens is None
    body = request.body("tiny")
    assert body["prompt"] == "hello"
    assert "logprobs" not in body


def test_chat_uses_its_own_form_of_logprobs() -> None:
    request = Request.chat("hello", logprobs=2)
    body = request.body("tiny")
    assert request.path == "/v1/chat/completions"
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)
    assert "prompt" not in body


def test_stream_asks_for_usage() -> None:
    assert Request.tokens([1], stream=True).body("m")["stream_options"] == {"include_usage": True}
    assert "stream_options" not in TOKENS.body("m")


def test_settings_are_sent_when_given() -> None:
    request = Request.tokens(
        [1], n=2, min_tokens=3, stop=("a",), stop_token_ids=(4,), ignore_eos=True, seed=0, prompt_logprobs=0
    )
    sent = request.body("m")
    expected = {
        "n": 2,
        "min_tokens": 3,
        "stop": ["a"],
        "stop_token_ids": [4],
        "ignore_eos": True,
        "seed": 0,
        "prompt_logprobs": 0,
    }
    assert expected.items() <= sent.items()


def test_extra_wins() -> None:
    assert Request.tokens([1], extra={"max_tokens": 3, "cache_salt": "x"}).body("m")["max_tokens"] == 3


def test_prefill_leg_asks_for_one_token_and_keeps_the_rest() -> None:
    request = Request.tokens([1, 2], max_tokens=9, min_tokens=4, stream=True, seed=7, n=2, stop=("x",))
    sent = request.for_prefill().body("m")
    assert (sent["max_tokens"], sent["stream"]) == (1, False)
    assert "min_tokens" not in sent
    assert "stream_options" not in sent
    assert "n" not in sent  # one prefill serves all choices
    assert (sent["seed"], sent["stop"], sent["prompt"]) == (7, ["x"], [1, 2])


def test_prefill_leg_limits_max_completion_tokens_where_it_is_used() -> None:
    extra = {"max_completion_tokens": 50, "min_tokens": 2, "stream_options": {}, "top_p": 0.5}
    leg = Request.chat("hi", extra=extra).for_prefill()
    assert leg.extra == {"max_completion_tokens": 1, "top_p": 0.5}
    assert extra["max_completion_tokens"] == 50


def test_digest_names_what_is_asked() -> None:
    assert TOKENS.digest() == Request.tokens([1, 2, 3], stream=True).digest()
    assert TOKENS.digest() == Request.tokens((1, 2, 3), extra={}).digest()


@pytest.mark.parametrize(
    "other",
    [
        Request.tokens([1, 2, 4]),
        Request.tokens([1, 2, 3], max_tokens=17),
        Request.tokens([1, 2, 3], seed=1),
        Request.tokens([1, 2, 3], extra={"top_p": 0.1}),
        Request.text("1 2 3"),
        Request.chat("1 2 3"),
    ],
)
def test_digest_differs_for_another_question(other: Request) -> None:
    assert TOKENS.digest() != other.digest()


def test_digest_is_stable() -> None:
    # Recorded references are found by it: a change makes all of them useless.
    assert TOKENS.digest() == "9fdd4bbb86b4c2616f84b61dab9b90865c2c4a374eda19dfea00c624febbf513"
