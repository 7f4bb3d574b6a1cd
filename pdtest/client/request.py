"""A request for tokens, independent of who will answer it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

Message = Mapping[str, Any]
Prompt = str | tuple[int, ...] | tuple[Message, ...]

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A completion or a chat. Made with `tokens`, `text` or `chat`.

    ``logprobs``: how many candidates are returned per position beside the chosen token; 2 or more
    are needed to see by how much a greedy choice won. ``extra`` goes into the body as it is, over
    everything else. vLLM 0.32 refuses ``n`` > 1 at temperature 0.
    """

    prompt: Prompt
    #: Said rather than guessed from the prompt: an empty tuple could be either.
    is_chat: bool = False
    max_tokens: int = 16
    min_tokens: int = 0
    temperature: float = 0.0
    n: int = 1
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = 2
    prompt_logprobs: int | None = None
    stream: bool = False
    seed: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def tokens(cls, ids: Sequence[int], **settings: Any) -> Self:
        """A completion of token ids: what the engine sees is exactly what was asked."""
        return cls(prompt=tuple(ids), **settings)

    @classmethod
    def text(cls, prompt: str, **settings: Any) -> Self:
        """A completion of a text."""
        return cls(prompt=prompt, **settings)

    @classmethod
    def chat(cls, messages: str | Sequence[Message], **settings: Any) -> Self:
        """A chat; a string is a single message of the user."""
        if isinstance(messages, str):
            messages = ({"role": "user", "content": messages},)
        return cls(prompt=tuple(messages), is_chat=True, **settings)

    @property
    def path(self) -> str:
        """Where it is posted to, under the member's URL."""
        return CHAT if self.is_chat else COMPLETIONS

    @property
    def prompt_tokens(self) -> int | None:
        """Length of the prompt in tokens; None where only the server can tell."""
        return None if self.is_chat or isinstance(self.prompt, str) else len(self.prompt)

    def body(self, model: str) -> dict[str, Any]:
        """The JSON body. What is left at its default is left out, for readable replays."""
        body: dict[str, Any] = {
            "model": model,
            ("messages" if self.is_chat else "prompt"): _jsonable(self.prompt),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stream": self.stream,
            "return_token_ids": True,
            **self._logprobs(),
            **self._settings(),
        }
        if self.stream:
            body["stream_options"] = {"include_usage": True}
        return {**body, **self.extra}

    def for_prefill(self, *, min_tokens: int = 0) -> Self:
        """The prefill leg: one token, not streamed; the rest as it is.

        As the proxies do it (vLLM's toy proxy): ``max_completion_tokens`` becomes 1 where it is
        used, ``stream_options`` would contradict and is dropped, and so is the request's own ``min_tokens``.
        """
        extra = {key: value for key, value in self.extra.items() if key not in _NOT_FOR_PREFILL}
        if "max_completion_tokens" in extra:
            extra["max_completion_tokens"] = 1
        # One prefill serves all choices. The toy proxy keeps n, and the blocks of all but the last choice
        # then wait for a decode that never asks, until their lease ends (vLLM 0.32).
        return replace(self, max_tokens=1, min_tokens=min_tokens, n=1, stream=False, extra=extra)

    def digest(self) -> str:
        """SHA-256 of what is asked. Equal for requests that must get equal answers.

        So the model's name and whether the answer is streamed do not count.
        """
        body = replace(self, stream=False).body("")
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def _logprobs(self) -> dict[str, Any]:
        if self.logprobs is None:
            return {}
        # Without the flag candidates are told apart by their text only, and many tokens of a byte
        # level vocabulary have none: they would collapse into one (vLLM 0.32, completion/serving.py).
        exact = {"return_tokens_as_token_ids": True}
        if self.is_chat:
            return {"logprobs": True, "top_logprobs": self.logprobs, **exact}
        return {"logprobs": self.logprobs, **exact}

    def _settings(self) -> dict[str, Any]:
        settings = {
            "n": self.n if self.n != 1 else None,
            "min_tokens": self.min_tokens or None,
            "stop": list(self.stop) or None,
            "stop_token_ids": list(self.stop_token_ids) or None,
            "ignore_eos": self.ignore_eos or None,
            "prompt_logprobs": self.prompt_logprobs,
            "seed": self.seed,
        }
        return {name: value for name, value in settings.items() if value is not None}


_NOT_FOR_PREFILL = frozenset({"stream", "stream_options", "min_tokens", "max_tokens"})


def _jsonable(prompt: Prompt) -> Any:
    if isinstance(prompt, str):
        return prompt
    return [dict(item) if isinstance(item, Mapping) else item for item in prompt]
