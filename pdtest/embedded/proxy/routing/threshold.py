"""By the lengths of prompt and answer alone."""

from __future__ import annotations

from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.phase import ByLengths


class Threshold(ByLengths):
    """A prompt of ``input_threshold`` tokens is long; with ``ratio`` tokens per token of answer, one-sided.

    An answer counts as long as it may become.
    """

    def __init__(self, *, input_threshold: int, ratio: float) -> None:
        self._input_threshold = input_threshold
        self._ratio = ratio

    @property
    def threshold(self) -> int | None:
        """It stays."""
        return self._input_threshold

    def is_long(self, prompt_tokens: int) -> bool:
        """From the threshold on."""
        return prompt_tokens >= self._input_threshold

    def is_one_sided(self, request: ClientRequest) -> bool:
        """From the ratio on."""
        return request.prompt_tokens / self.answer_tokens(request) >= self._ratio

    def answer_tokens(self, request: ClientRequest) -> float:
        """How long its answer is taken to be."""
        return request.most_tokens
