"""By the lengths of prompt and answer alone."""

from __future__ import annotations

from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.path import Path
from pdtest.embedded.proxy.routing.phase import by_lengths


class Threshold:
    """A prompt of ``input_threshold`` tokens is long; with ``ratio`` tokens per token of answer, one-sided.

    An answer counts as long as it may become.
    """

    def __init__(self, *, input_threshold: int, ratio: float) -> None:
        self.threshold: int | None = input_threshold
        self._input_threshold = input_threshold
        self._ratio = ratio

    def path(self, request: ClientRequest) -> Path:
        """By what is known before anything was computed."""
        return by_lengths(
            is_long=request.prompt_tokens >= self._input_threshold,
            is_one_sided=request.prompt_tokens / request.most_tokens >= self._ratio,
        )
