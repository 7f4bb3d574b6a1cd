"""What the model can take: prompts that fit, values that make sense. Messages and params are vLLM 0.32's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from pdtest.embedded.engine.api.errors import BadValue
from pdtest.embedded.engine.api.schema import Options, Prompt
from pdtest.embedded.engine.sequence import Sampling
from pdtest.embedded.model.tokenizer import encode

#: vLLM's default of --max-logprobs.
_MOST_LOGPROBS: Final = 20
_MOST_CHOICES: Final = 16384
#: Temperatures below are raised to it, as vLLM does.
_LEAST_TEMPERATURE: Final = 1e-2
_MOST_TEMPERATURE: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The numbers that requests are held against."""

    max_model_len: int
    vocab_size: int

    def tokens(self, prompt: Prompt) -> tuple[int, ...]:
        """The prompt as tokens. Raises BadValue when it does not fit or has unknown ones."""
        if isinstance(prompt, str):
            if len(prompt) > self.max_model_len:
                raise self._too_long(f"{len(prompt)} characters, each at least one token", "input_text")
            prompt = encode(prompt)
        if not prompt:
            raise BadValue("The decoder prompt cannot be empty")
        if len(prompt) > self.max_model_len:
            raise self._too_long(f"{len(prompt)} input tokens", "input_tokens")
        for token in prompt:
            if token >= self.vocab_size:
                raise BadValue(f"Token id {token} is out of vocabulary")
        return prompt

    def _too_long(self, seen: str, param: str) -> BadValue:
        return BadValue(
            f"This model's maximum context length is {self.max_model_len} tokens. However, your prompt "
            f"contains {seen}, which exceeds this limit even without any output tokens. "
            "Please reduce the length of the input prompt.",
            param=param,
        )

    def sampling(self, options: Options, prompt_length: int, *, choice: int = 0) -> Sampling:
        """How choice number ``choice`` of a prompt is made, of options that were checked. Raises BadValue."""
        max_tokens = self._max_tokens(options.max_tokens, prompt_length)
        if options.min_tokens > max_tokens:
            raise BadValue(
                f"min_tokens must be less than or equal to max_tokens={max_tokens}, got {options.min_tokens}."
            )
        greedy = options.temperature == 0
        if greedy and options.n > 1:
            raise BadValue(f"n must be 1 when using greedy sampling, got {options.n}.")
        return Sampling(
            max_tokens=max_tokens,
            min_tokens=options.min_tokens,
            temperature=0.0 if greedy else max(options.temperature, _LEAST_TEMPERATURE),
            top_p=1.0 if greedy else options.top_p,
            top_k=0 if greedy else max(options.top_k, 0),
            seed=None if options.seed in (None, -1) else options.seed + choice,
            stop_token_ids=frozenset(options.stop_token_ids),
            ignore_eos=options.ignore_eos,
            logprobs=options.logprobs,
            prompt_logprobs=options.prompt_logprobs,
            logit_bias=options.logit_bias,
        )

    def _max_tokens(self, asked: int | None, prompt_length: int) -> int:
        left = self.max_model_len - prompt_length
        if asked is not None and asked > self.max_model_len:
            raise BadValue(
                f"max_tokens={asked} cannot be greater than max_model_len={self.max_model_len}. "
                f"Please request fewer output tokens. (parameter=max_tokens, value={asked})",
                param="max_tokens",
            )
        max_tokens = left if asked is None else min(asked, left)
        if max_tokens < 1:
            raise _bad("max_tokens", "must be at least 1", max_tokens)
        return max_tokens

    def check(self, options: Options) -> None:
        """Raises BadValue for values that make no sense, whatever the prompt."""
        if options.n < 1:
            raise BadValue(f"n must be at least 1, got {options.n}.")
        if options.n > _MOST_CHOICES:
            raise BadValue(f"n must be at most {_MOST_CHOICES}, got {options.n}.")
        _check_temperature(options.temperature)
        if not 0 < options.top_p <= 1:
            raise _bad("top_p", "must be in (0, 1]", options.top_p)
        if options.top_k < -1:
            raise BadValue(f"top_k must be 0 (disable), or at least 1, got {options.top_k}.")
        if options.min_tokens < 0:
            raise BadValue(f"min_tokens must be greater than or equal to 0, got {options.min_tokens}.")
        if "" in options.stop:
            raise BadValue("stop cannot contain an empty string.")
        self._check_logprobs("sample", "logprobs", options.logprobs)
        self._check_logprobs("prompt", "prompt_logprobs", options.prompt_logprobs)
        self._check_vocabulary("stop_token_ids", options.stop_token_ids)
        self._check_vocabulary("logit_bias", tuple(options.logit_bias))

    def _check_logprobs(self, which: str, param: str, asked: int | None) -> None:
        asked = self.vocab_size if asked == -1 else asked
        if asked is not None and asked > _MOST_LOGPROBS:
            raise BadValue(
                f"Requested {which} logprobs of {asked}, which is greater than max allowed: {_MOST_LOGPROBS} "
                f"(parameter={param}, value={asked})",
                param=param,
            )

    def _check_vocabulary(self, param: str, ids: tuple[int, ...]) -> None:
        unknown = [token for token in ids if not 0 <= token < self.vocab_size]
        if unknown:
            raise BadValue(
                f"token_id(s) {unknown} in {param} contain out-of-vocab token ids. "
                f"Vocabulary size: {self.vocab_size} (parameter={param}, value={unknown})",
                param=param,
            )


def _check_temperature(temperature: float) -> None:
    if not math.isfinite(temperature):
        raise _bad("temperature", "must be a finite number", temperature)
    if temperature < 0:
        raise _bad("temperature", "must be non-negative", temperature)
    if temperature > _MOST_TEMPERATURE:
        raise _bad("temperature", "must be in [0, 2]", temperature)


def _bad(param: str, rule: str, value: float) -> BadValue:
    return BadValue(f"{param} {rule}, got {value}. (parameter={param}, value={value})", param=param)
