"""Requests as the endpoints understand them, read from JSON and checked as vLLM 0.32 checks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pdtest.embedded.engine.api.errors import BadValue
from pdtest.embedded.engine.api.fields import Fields

Prompt = str | tuple[int, ...]

_MOST_STOPS: Final = 4
_MOST_PROMPTS: Final = 1024
_DEFAULT_MAX_TOKENS: Final = 16

#: Fields that would change the answer and that this engine does not know; the values that change nothing.
_UNSUPPORTED: Final[Mapping[str, tuple[Any, ...]]] = {
    "allowed_token_ids": (),
    "bad_words": ([],),
    "cache_salt": (),
    "chat_template": (),
    "continue_final_message": (False,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "logprob_token_ids": ([],),
    "min_p": (0,),
    "presence_penalty": (0,),
    "prompt_embeds": (),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "structured_outputs": (),
    "suffix": (),
    "tools": (),
    "truncate_prompt_tokens": (),
    "use_beam_search": (False,),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What both kinds of request have. ``logprobs``: candidates to report, None for no log-probabilities.

    ``token_names_as_ids``: log-probabilities are labelled `token_id:7` instead of with the token's text.
    """

    model: str | None
    request_id: str | None
    n: int
    max_tokens: int | None
    min_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int | None
    stop: tuple[str, ...]
    include_stop: bool
    stop_token_ids: tuple[int, ...]
    ignore_eos: bool
    skip_special: bool
    logit_bias: Mapping[int, float]
    logprobs: int | None
    prompt_logprobs: int | None
    token_names_as_ids: bool
    return_token_ids: bool
    stream: bool
    include_usage: bool
    continuous_usage: bool
    kv_transfer_params: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class CompletionRequest:
    """A body of /v1/completions."""

    options: Options
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """A body of /v1/chat/completions."""

    options: Options
    messages: tuple[Message, ...]
    role: str
    return_prompt_text: bool


def completion(body: Mapping[str, Any]) -> CompletionRequest:
    """Raises ApiError."""
    _check_logprobs(body, "logprobs")
    _check_stream_options(body)
    prompt = body.get("prompt")
    if prompt is None or prompt == "":
        raise BadValue("Either prompt or prompt_embeds must be provided and non-empty.", param="prompt")
    fields = Fields(body)
    prompts = _prompts(fields, prompt)
    max_tokens = fields.integer("max_tokens")
    options = _options(
        fields,
        max_tokens=_DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens,
        logprobs=fields.integer("logprobs"),
        n=fields.integer("n", null=False),
    )
    fields.check()
    _check_supported(body)
    if not prompts:
        raise BadValue("You must pass at least one prompt")
    return CompletionRequest(options=options, prompts=prompts)


def chat(body: Mapping[str, Any]) -> ChatRequest:
    """Raises ApiError."""
    _check_logprobs(body, "top_logprobs")
    if body.get("top_logprobs") and not body.get("logprobs"):
        raise BadValue(
            "when using `top_logprobs`, `logprobs` must be set to true. (parameter=top_logprobs)",
            param="top_logprobs",
        )
    _check_stream_options(body)
    fields = Fields(body)
    messages = conversation(fields)
    limit = fields.integer("max_completion_tokens")
    max_tokens = fields.integer("max_tokens")
    top_logprobs = fields.integer("top_logprobs")
    options = _options(
        fields,
        max_tokens=max_tokens if limit is None else limit,
        logprobs=top_logprobs or 0 if fields.flag("logprobs") else None,
        n=fields.integer("n"),
    )
    generate = fields.flag("add_generation_prompt", default=True, null=False)
    return_prompt_text = fields.flag("return_prompt_text")
    fields.check()
    _check_supported(body)
    if not messages:
        raise BadValue("Cannot apply chat template to an empty conversation. Provide at least one message.")
    role = "assistant" if generate else messages[-1].role
    return ChatRequest(options=options, messages=messages, role=role, return_prompt_text=return_prompt_text)


def _options(fields: Fields, *, max_tokens: int | None, logprobs: int | None, n: int | None) -> Options:
    temperature = fields.number("temperature")
    top_p = fields.number("top_p")
    stop = fields.texts("stop")
    if len(stop) > _MOST_STOPS:
        fields.wrong("stop", f"at most {_MOST_STOPS} strings", stop)
    streaming = fields.inner("stream_options")
    include_usage = streaming.flag("include_usage")
    return Options(
        model=fields.text("model"),
        request_id=fields.text("request_id"),
        n=1 if n is None else n,
        max_tokens=max_tokens,
        min_tokens=fields.integer("min_tokens", null=False) or 0,
        temperature=1.0 if temperature is None else temperature,
        top_p=1.0 if top_p is None else top_p,
        top_k=fields.integer("top_k") or 0,
        seed=fields.integer("seed"),
        stop=tuple(stop),
        include_stop=fields.flag("include_stop_str_in_output", null=False),
        stop_token_ids=tuple(fields.integers("stop_token_ids")),
        ignore_eos=fields.flag("ignore_eos", null=False),
        skip_special=fields.flag("skip_special_tokens", default=True, null=False),
        logit_bias=_logit_bias(fields),
        logprobs=logprobs,
        prompt_logprobs=fields.integer("prompt_logprobs"),
        token_names_as_ids=fields.flag("return_tokens_as_token_ids"),
        return_token_ids=fields.flag("return_token_ids"),
        stream=fields.flag("stream"),
        include_usage=include_usage,
        continuous_usage=streaming.flag("continuous_usage_stats") and include_usage,
        kv_transfer_params=fields.mapping("kv_transfer_params"),
    )


def _logit_bias(fields: Fields) -> dict[int, float]:
    found = {}
    biases = fields.inner("logit_bias")
    for key in biases:
        bias = biases.number(key)
        if not key.isdecimal():
            fields.wrong("logit_bias", "token ids for keys", key)
        elif bias is not None:
            found[int(key)] = min(100.0, max(-100.0, bias))
    return found


def _prompts(fields: Fields, prompt: Any) -> tuple[Prompt, ...]:
    if isinstance(prompt, str):
        return (prompt,)
    if not isinstance(prompt, list):
        fields.wrong("prompt", "a string, token ids, or a list of either", prompt)
        return ()
    if prompt and isinstance(prompt[0], int):
        return (_ids(fields, "prompt", prompt),)
    if len(prompt) > _MOST_PROMPTS:
        raise BadValue(
            f"prompt list length {len(prompt)} exceeds the maximum allowed count of {_MOST_PROMPTS}.",
            param="prompt",
        )
    if all(isinstance(item, str) for item in prompt):
        return tuple(prompt)
    return tuple(_ids(fields, f"prompt.{at}", item) for at, item in enumerate(prompt))


def _ids(fields: Fields, field: str, ids: Any) -> tuple[int, ...]:
    if not isinstance(ids, list):
        fields.wrong(field, "a string or token ids, all prompts alike", ids)
        return ()
    for at, item in enumerate(ids):
        if not isinstance(item, int) or item < 0:
            fields.wrong(f"{field}.{at}", "a token id, an integer of at least 0", item)
            return ()
    return tuple(map(int, ids))


def conversation(fields: Fields) -> tuple[Message, ...]:
    """The messages of a body. What is wrong with them is told by ``fields``."""
    messages = fields.raw("messages")
    if not isinstance(messages, list):
        fields.wrong("messages", "a list of messages", messages)
        return ()
    return tuple(_message(fields, f"messages.{at}", message) for at, message in enumerate(messages))


def _message(fields: Fields, place: str, message: Any) -> Message:
    if not isinstance(message, dict):
        fields.wrong(place, "an object with role and content", message)
        return Message(role="", content="")
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str):
        fields.wrong(f"{place}.role", "a string", role)
        role = ""
    return Message(role=role, content=_content(fields, f"{place}.content", content))


def _content(fields: Fields, place: str, content: Any) -> str:
    """Text parts are put on lines of their own, as vLLM does for templates that expect a string."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        fields.wrong(place, "a string or a list of text parts", content)
        return ""
    texts = []
    for at, part in enumerate(content):
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str):
            texts.append(text)
        else:
            fields.wrong(f"{place}.{at}", "a text part", part)
    return "\n".join(texts)


def _check_logprobs(body: Mapping[str, Any], name: str) -> None:
    for field in ("prompt_logprobs", name):
        value = body.get(field)
        if value is None:
            continue
        if not isinstance(value, (int, float)):
            raise BadValue(f"`{field}` must be an integer. (parameter={field}, value={value})", param=field)
        if field == "prompt_logprobs" and body.get("stream") and (value > 0 or value == -1):
            raise BadValue(
                "`prompt_logprobs` are not available when `stream=True`. (parameter=prompt_logprobs)",
                param=field,
            )
        if value < 0 and value != -1:
            raise BadValue(
                f"`{field}` must be a positive value or -1. (parameter={field}, value={value})", param=field
            )


def _check_stream_options(body: Mapping[str, Any]) -> None:
    if body.get("stream_options") and not body.get("stream"):
        raise BadValue(
            "Stream options can only be defined when `stream=True`. (parameter=stream_options)",
            param="stream_options",
        )


def _check_supported(body: Mapping[str, Any]) -> None:
    for field, neutral in _UNSUPPORTED.items():
        value = body.get(field)
        if value is not None and value not in neutral:
            raise BadValue(
                f"`{field}` would change the answer, and the embedded engine cannot do it: "
                f"expected it to be left out, seen {value!r:.60}",
                param=field,
            )
