"""By lengths, by what answers were of late, and by who has more to do."""

from __future__ import annotations

import math

from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.answers import RecentAnswers
from pdtest.embedded.proxy.routing.pressure import Pressure
from pdtest.embedded.proxy.routing.threshold import Threshold


class Adaptive(Threshold):
    """As `Threshold`, but an answer counts as long as answers were of late.

    It never counts longer than it may become. The threshold is ``input_threshold`` times ``flex`` to the
    power of the pressure: while prefill has more to do than decode, it is higher, up to ``flex`` times, and
    lower the other way round.
    """

    def __init__(
        self,
        *,
        input_threshold: int,
        ratio: float,
        flex: float,
        pressure: Pressure,
        answers: RecentAnswers,
    ) -> None:
        super().__init__(input_threshold=input_threshold, ratio=ratio)
        self._flex = flex
        self._pressure = pressure
        self._answers = answers

    @property
    def threshold(self) -> int:
        """As it is now, in whole tokens."""
        return max(1, round(self._input_threshold * math.pow(self._flex, self._pressure.level)))

    def is_long(self, prompt_tokens: int) -> bool:
        """From that on."""
        return prompt_tokens >= self.threshold

    def answer_tokens(self, request: ClientRequest) -> float:
        """The mean of late; where there is none, how long it may become."""
        expected = self._answers.mean
        return request.most_tokens if expected is None else max(1.0, min(expected, request.most_tokens))
