"""How many tokens a request took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pdtest.embedded.engine.api.choice import Choice


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """How this server counts. ``details``: with `prompt_tokens_details`."""

    details: bool
    block_size: int
    prefix_caching: bool

    def cached(self, choice: Choice) -> int:
        """Prompt tokens that were not computed here.

        Behind a remote prefill it is what prefill found in its cache, if it told: vLLM 0.32 reports that
        in place of decode's own, which would be everything.
        """
        sequence = choice.sequence
        params = sequence.kv_transfer_params or {}
        told = params.get("remote_prefill_cached_tokens")
        if params.get("do_remote_prefill") and isinstance(told, int):
            return told
        return sequence.cached + sequence.transferred

    def created(self, choice: Choice) -> int:
        """Prompt tokens that were put into the prefix cache."""
        if not self.prefix_caching:
            return 0
        sequence = choice.sequence
        whole = len(sequence.prompt) // self.block_size * self.block_size
        return max(0, whole - sequence.cached - sequence.transferred)


def counts(choices: Iterable[Choice]) -> dict[str, Any]:
    """Tokens in prompts and answers. A prompt with several choices counts once."""
    prompts: dict[int, int] = {}
    completion = 0
    for choice in choices:
        prompts[choice.prompt_index] = len(choice.sequence.prompt)
        completion += len(choice.token_ids)
    prompt = sum(prompts.values())
    return {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion}
