"""The requests that the embedded engine and real vLLM are both asked.

Prompts are token ids from 8 to 95: single ASCII characters in the vocabularies of both models. (A prompt that
ends within a character is answered by vLLM 0.32 with the prompt's text in front of the answer's.) Requests
that need to know what the model says (a stop string, a stop token) are made from the answers before them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .exchange import Case, Earlier

MODEL = "tiny"
#: Both servers run with this, so that limits can be overstepped alike.
MAX_MODEL_LEN = 2048

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
USAGE = {"include_usage": True}
CONTINUOUS = {"include_usage": True, "continuous_usage_stats": True}

Body = dict[str, Any]


def prompt(length: int, *, salt: int = 0) -> list[int]:
    """Token ids; two salts part at the first of them."""
    return [8 + (37 * index + salt) % 88 for index in range(length)]


MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a block?"}]
PARTS = [
    {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "a block?"}]}
]
NEARLY_FULL = [{"role": "user", "content": "a block " * 245}]
COMPLETION: Body = {
    "model": MODEL,
    "prompt": prompt(20),
    "max_tokens": 8,
    "temperature": 0,
    "ignore_eos": True,
    "return_token_ids": True,
}
CONVERSATION: Body = {
    "model": MODEL,
    "messages": MESSAGES,
    "max_tokens": 8,
    "temperature": 0,
    "ignore_eos": True,
    "return_token_ids": True,
}
LONG: Body = {**COMPLETION, "max_tokens": 24}
LONG_CONVERSATION: Body = {**CONVERSATION, "max_tokens": 24}
#: Marks a field that is to be left out.
GONE = object()


def _completion(name: str, *, headers: dict[str, str] | None = None, **fields: Any) -> Case:
    return Case(name=name, path=COMPLETIONS, body=_body(COMPLETION, fields), headers=headers or {})


def _chat(name: str, *, headers: dict[str, str] | None = None, **fields: Any) -> Case:
    return Case(name=name, path=CHAT, body=_body(CONVERSATION, fields), headers=headers or {})


def _body(usual: Body, fields: Body) -> Body:
    return {key: value for key, value in {**usual, **fields}.items() if value is not GONE}


def _after(name: str, base: Case, make: Callable[[list[int], str], Body], **fields: Any) -> Case:
    """``base`` again, with fields made from the token ids and the text of its answer."""

    def body(earlier: Earlier) -> Body:
        choice = earlier[base.name].body["choices"][0]
        text = choice["text"] if base.path == COMPLETIONS else choice["message"]["content"]
        assert isinstance(base.body, dict)
        return {**base.body, **fields, **make(choice["token_ids"], text)}

    return Case(name=name, path=base.path, body=body)


def _stop_id(ids: list[int], _text: str) -> Body:
    """The first token, from the fourth on, that does not come before its place."""
    return {"stop_token_ids": [next(ids[at] for at in range(3, len(ids)) if ids.index(ids[at]) == at)]}


def _stop_string(_ids: list[int], text: str) -> Body:
    """Three characters of the text, from the third on, that do not come before their place."""
    return {
        "stop": next(text[at : at + 3] for at in range(2, len(text)) if text.find(text[at : at + 3]) == at)
    }


def _stop_strings(ids: list[int], text: str) -> Body:
    return {"stop": ["never in it, surely", _stop_string(ids, text)["stop"]]}


def _first_character(_ids: list[int], text: str) -> Body:
    return {"stop": [text[0]]}


def _held_back(ids: list[int], _text: str) -> Body:
    """Its fourth token would end it, were there not a least number of tokens."""
    return {"stop_token_ids": [ids[3]], "min_tokens": 10}


BASE = Case(name="base", path=COMPLETIONS, body=LONG)
CHAT_BASE = Case(name="chat-base", path=CHAT, body=LONG_CONVERSATION)
ID = {"X-Request-Id": "named-by-the-client"}

WHOLE = (
    BASE,
    CHAT_BASE,
    _completion("plain", return_token_ids=GONE),
    _completion("text-prompt", prompt="One two three"),
    _completion("texts", prompt=["One", "Two, three"]),
    _completion("id-lists", prompt=[prompt(9), prompt(14, salt=1)]),
    _completion("id-lists-n2", prompt=[prompt(9), prompt(14, salt=1)], n=2, temperature=1.0, seed=3),
    _completion("no-model", model=GONE),
    _completion("eos-allowed", ignore_eos=False),
    _completion("default-max-tokens", max_tokens=GONE),
    _completion("null-max-tokens", max_tokens=None),
    _completion("one-token", max_tokens=1),
    _completion("one-token-prompt", prompt=[8]),
    _completion("up-to-the-limit", prompt=prompt(MAX_MODEL_LEN - 4), max_tokens=16, return_token_ids=GONE),
    _completion(
        "max-tokens-clamped",
        prompt=prompt(MAX_MODEL_LEN - 4),
        max_tokens=MAX_MODEL_LEN,
        return_token_ids=GONE,
    ),
    _completion("request-id", headers=ID),
    _completion("request-id-in-the-body", request_id="named-in-the-body"),
    _completion("data-parallel-rank", headers={"X-data-parallel-rank": "0"}),
    _completion("unknown-fields", surely_not_known=1, user="me", priority=0, best_of=1),
    _completion(
        "nulls", temperature=0, stop=None, seed=None, logprobs=None, stream=None, top_p=None, top_k=None
    ),
    _completion("seeded", temperature=1.0, seed=7, max_tokens=16),
    _completion("seeded-again", temperature=1.0, seed=7, max_tokens=16),
    _completion("seeded-otherwise", temperature=1.0, seed=8, max_tokens=16),
    _completion("top-k-1", temperature=1.0, top_k=1),
    _completion("top-p-tiny", temperature=1.0, top_p=1e-6),
    _completion("n3", n=3, temperature=1.0, seed=7, max_tokens=16),
    _completion("n2-logprobs", n=2, temperature=1.0, seed=7, logprobs=2, return_tokens_as_token_ids=True),
    _completion("logprobs-0", logprobs=0, return_tokens_as_token_ids=True),
    _completion("logprobs-1", logprobs=1, return_tokens_as_token_ids=True),
    _completion("logprobs-5", logprobs=5, return_tokens_as_token_ids=True),
    _completion("logprobs-5-sampled", logprobs=5, return_tokens_as_token_ids=True, temperature=1.0, seed=11),
    _completion("logprobs-texts", logprobs=3),
    _completion("prompt-logprobs-0", prompt_logprobs=0),
    _completion("prompt-logprobs-2", prompt_logprobs=2),
    _completion("prompt-logprobs-and-logprobs", prompt_logprobs=1, logprobs=1, max_tokens=2),
    _completion("ids-echoed-logprobs-not-as-ids", logprobs=1, return_tokens_as_token_ids=False),
    _after("stop-id", BASE, _stop_id),
    _after("stop-id-included", BASE, _stop_id, include_stop_str_in_output=True),
    _after("stop-string", BASE, _stop_string),
    _after("stop-string-included", BASE, _stop_string, include_stop_str_in_output=True),
    _after("stop-strings", BASE, _stop_strings),
    _after("stop-at-once", BASE, _first_character),
    _after("min-tokens", BASE, _held_back),
    _after("min-tokens-stop-string", BASE, _stop_string, min_tokens=20),
    _completion("cold", prompt=prompt(100, salt=50)),
    _completion("warm", prompt=prompt(100, salt=50)),
    _completion("no-connector", kv_transfer_params={"do_remote_decode": True, "do_remote_prefill": False}),
    _chat("chat-plain", return_token_ids=GONE),
    _chat("chat-no-limit", messages=NEARLY_FULL, max_tokens=GONE, return_token_ids=GONE),
    _chat("chat-parts", messages=PARTS),
    _chat("chat-max-completion-tokens", max_tokens=GONE, max_completion_tokens=5),
    _chat("chat-both-limits", max_tokens=9, max_completion_tokens=5),
    _chat("chat-request-id", headers=ID),
    _chat("chat-n2", n=2, temperature=1.0, seed=7),
    _chat("chat-logprobs", logprobs=True, return_tokens_as_token_ids=True),
    _chat("chat-top-logprobs", logprobs=True, top_logprobs=3, return_tokens_as_token_ids=True),
    _chat("chat-top-logprobs-texts", logprobs=True, top_logprobs=2),
    _chat("chat-prompt-logprobs", prompt_logprobs=1),
    _chat("chat-prompt-text", return_prompt_text=True),
    _chat(
        "chat-continued",
        messages=[*MESSAGES, {"role": "assistant", "content": "It"}],
        add_generation_prompt=False,
    ),
    _after("chat-stop-string", CHAT_BASE, _stop_string),
    _after("chat-stop-id", CHAT_BASE, _stop_id),
)

STREAMED = (
    _completion("stream", stream=True, return_token_ids=GONE),
    _completion("stream-ids", stream=True),
    _completion("stream-usage", stream=True, stream_options=USAGE),
    _completion("stream-continuous", stream=True, stream_options=CONTINUOUS),
    _completion("stream-logprobs", stream=True, logprobs=2, return_tokens_as_token_ids=True),
    _completion("stream-n3", stream=True, n=3, temperature=1.0, seed=7, max_tokens=16, stream_options=USAGE),
    _completion("stream-id-lists", stream=True, prompt=[prompt(9), prompt(14, salt=1)], stream_options=USAGE),
    _completion("stream-one-token", stream=True, max_tokens=1),
    _completion("stream-prompt-logprobs-0", stream=True, prompt_logprobs=0),
    _completion("stream-no-connector", stream=True, kv_transfer_params={"do_remote_decode": True}),
    _after("stream-base", BASE, lambda _ids, _text: {}, stream=True),
    _after("stream-stop-id", BASE, _stop_id, stream=True),
    _after("stream-stop-string", BASE, _stop_string, stream=True, stream_options=USAGE),
    _after("stream-stop-included", BASE, _stop_string, stream=True, include_stop_str_in_output=True),
    _after("stream-stop-at-once", BASE, _first_character, stream=True),
    _chat("chat-stream", stream=True, return_token_ids=GONE),
    _chat("chat-stream-ids", stream=True),
    _chat("chat-stream-usage", stream=True, stream_options=USAGE),
    _chat("chat-stream-continuous", stream=True, stream_options=CONTINUOUS),
    _chat(
        "chat-stream-logprobs", stream=True, logprobs=True, top_logprobs=2, return_tokens_as_token_ids=True
    ),
    _chat("chat-stream-n2", stream=True, n=2, temperature=1.0, seed=7, stream_options=USAGE),
    _chat("chat-stream-prompt-text", stream=True, return_prompt_text=True),
    _after("chat-stream-base", CHAT_BASE, lambda _ids, _text: {}, stream=True),
    _after("chat-stream-stop-string", CHAT_BASE, _stop_string, stream=True),
)

REFUSED = (
    _completion("wrong-model", model="another"),
    _completion("too-long", prompt=prompt(MAX_MODEL_LEN + 1)),
    _completion("exactly-full", prompt=prompt(MAX_MODEL_LEN)),
    _completion("text-too-long", prompt="a block " * 2500),
    _completion("max-tokens-too-many", max_tokens=MAX_MODEL_LEN + 1),
    _completion("max-tokens-0", max_tokens=0),
    _completion("max-tokens-negative", max_tokens=-1),
    _completion("max-tokens-text", max_tokens="many"),
    _completion("max-tokens-digits", max_tokens="5"),
    _completion("max-tokens-fraction", max_tokens=2.5),
    _completion("max-tokens-whole-float", max_tokens=5.0),
    _completion("no-prompt", prompt=GONE),
    _completion("empty-text", prompt=""),
    _completion("empty-ids", prompt=[]),
    _completion("an-empty-list", prompt=[[]]),
    _completion("an-empty-text", prompt=[""]),
    _completion("prompt-number", prompt=5),
    _completion("prompt-object", prompt={"a": 1}),
    _completion("prompt-mixed", prompt=[8, "a"]),
    _completion("token-negative", prompt=[8, -1]),
    _completion("token-unknown", prompt=[8, 100_000]),
    _completion("token-bool", prompt=[True]),
    _completion("temperature-negative", temperature=-1),
    _completion("temperature-high", temperature=2.5),
    _completion("temperature-text", temperature="warm"),
    _completion("top-p-0", top_p=0),
    _completion("top-p-2", top_p=2),
    _completion("top-k-minus-2", top_k=-2),
    _completion("n-0", n=0),
    _completion("n-null", n=None),
    _completion("n-greedy", n=2),
    _completion("n-text", n="two"),
    _completion("seed-huge", seed=2**63),
    _completion("seed-text", seed="x"),
    _completion("logprobs-many", logprobs=21),
    _completion("logprobs-negative", logprobs=-2),
    _completion("logprobs-text", logprobs="all"),
    _completion("prompt-logprobs-many", prompt_logprobs=21),
    _completion("prompt-logprobs-negative", prompt_logprobs=-2),
    _completion("prompt-logprobs-streamed", prompt_logprobs=1, stream=True),
    _completion("min-tokens-over-max", min_tokens=9),
    _completion("min-tokens-negative", min_tokens=-1),
    _completion("stop-empty", stop=""),
    _completion("stop-number", stop=5),
    _completion("stop-list-of-numbers", stop=[5]),
    _completion("stop-ids-text", stop_token_ids=["a"]),
    _completion("stream-options-unstreamed", stream_options=USAGE),
    _completion("stream-text", stream="perhaps"),
    _completion("kv-params-list", kv_transfer_params=[1]),
    _completion("data-parallel-rank-beyond", headers={"X-data-parallel-rank": "7"}),
    _completion("data-parallel-rank-text", headers={"X-data-parallel-rank": "x"}),
    _completion("stream-wrong-model", stream=True, model="another"),
    _completion("stream-max-tokens-0", stream=True, max_tokens=0),
    _completion("stream-n-greedy", stream=True, n=2),
    _completion("stream-logprobs-many", stream=True, logprobs=21),
    _completion("stream-token-unknown", stream=True, prompt=[8, 100_000]),
    _completion("wrong-media-type", headers={"content-type": "text/plain"}),
    Case(name="no-json", path=COMPLETIONS, body="{"),
    Case(name="json-list", path=COMPLETIONS, body="[]"),
    Case(name="no-body", path=COMPLETIONS, body=""),
    _chat("chat-wrong-model", model="another"),
    _chat("chat-no-messages", messages=GONE),
    _chat("chat-empty-messages", messages=[]),
    _chat("chat-messages-text", messages="hello"),
    _chat("chat-message-text", messages=["hello"]),
    _chat("chat-no-role", messages=[{"content": "hello"}]),
    _chat("chat-no-content", messages=[{"role": "user"}]),
    _chat("chat-content-number", messages=[{"role": "user", "content": 5}]),
    _chat("chat-strange-role", messages=[{"role": "pirate", "content": "hello"}]),
    _chat("chat-n-greedy", n=2),
    _chat("chat-n-null", n=None),
    _chat("chat-max-tokens-too-many", max_tokens=MAX_MODEL_LEN + 1),
    _chat("chat-max-tokens-0", max_tokens=0),
    _chat("chat-top-logprobs-alone", top_logprobs=2),
    _chat("chat-top-logprobs-many", logprobs=True, top_logprobs=21),
    _chat("chat-logprobs-number", logprobs=3),
    _chat("chat-stream-options-unstreamed", stream_options=USAGE),
    _chat("chat-too-long", messages=[{"role": "user", "content": "a block " * 2500}]),
    Case(name="chat-no-json", path=CHAT, body="nothing"),
    Case(name="get-completions", method="GET", path=COMPLETIONS),
    Case(name="nowhere", method="GET", path="/v1/nowhere"),
    Case(name="post-models", path="/v1/models", body={}),
)

BESIDE = (
    Case(name="models", method="GET", path="/v1/models"),
    Case(name="health", method="GET", path="/health"),
    Case(name="ping", method="GET", path="/ping"),
    Case(name="ping-post", path="/ping", body={}),
    Case(name="version", method="GET", path="/version"),
    Case(name="load", method="GET", path="/load"),
    Case(name="tokenize", path="/tokenize", body={"model": MODEL, "prompt": "One two"}),
    Case(name="tokenize-strings", path="/tokenize", body={"prompt": "One two", "return_token_strs": True}),
    Case(name="tokenize-chat", path="/tokenize", body={"model": MODEL, "messages": MESSAGES}),
    Case(name="tokenize-nothing", path="/tokenize", body={"model": MODEL}),
    Case(name="tokenize-wrong-model", path="/tokenize", body={"model": "another", "prompt": "One"}),
    Case(name="detokenize", path="/detokenize", body={"model": MODEL, "tokens": prompt(12)}),
    Case(name="detokenize-text", path="/detokenize", body={"model": MODEL, "tokens": "One"}),
    Case(name="detokenize-unknown", path="/detokenize", body={"model": MODEL, "tokens": [100_000]}),
    Case(name="reset-prefix-cache", path="/reset_prefix_cache", body=""),
    Case(name="metrics", method="GET", path="/metrics"),
)

CASES = (*WHOLE, *STREAMED, *REFUSED, *BESIDE)
