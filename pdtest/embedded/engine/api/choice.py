"""One choice of an answer as it grows, from the engine's steps to text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pdtest.embedded.engine.api.schema import Options
from pdtest.embedded.engine.sequence import Finish, Logprob, Sequence, Step
from pdtest.embedded.model.tokenizer import Detokenizer, piece

#: Tokens before one that can belong to the same character.
_CONTEXT: Final = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token's log-probability with the text that the token would add at its place."""

    token: int
    text: str
    logprob: float
    rank: int


#: What was possible at one place: the token that stands there first, then the likeliest.
Position = tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """What one step added to a choice. The last one has a ``finish``."""

    text: str
    token_ids: tuple[int, ...]
    positions: tuple[Position, ...]
    finish: Finish | None
    stop_reason: int | str | None


class Choice:
    """What has been said so far, and what there is to say about it at the end.

    ``index`` counts over all prompts of the request, ``prompt_index`` is the prompt it answers.
    """

    def __init__(self, *, index: int, prompt_index: int, sequence: Sequence, options: Options) -> None:
        self.index = index
        self.prompt_index = prompt_index
        self.sequence = sequence
        self.token_ids: list[int] = []
        self.positions: list[Position] = []
        self.finish: Finish | None = None
        self.stop_reason: int | str | None = None
        #: kv_transfer_params for the answer. None when a stop string ended it: the engine was not done then.
        self.handover: Mapping[str, Any] | None = None
        self._texts: list[str] = []
        self._logprobs = options.logprobs is not None
        self._include_stop = options.include_stop
        self._detokenizer = Detokenizer(
            stop=options.stop,
            include_stop=options.include_stop,
            min_tokens=options.min_tokens,
            skip_special=options.skip_special,
        )

    @property
    def text(self) -> str:
        """All that was said."""
        return "".join(self._texts)

    @property
    def prompt_positions(self) -> list[Position | None]:
        """Log-probabilities of the prompt's tokens. The first has none: nothing comes before it."""
        prompt = self.sequence.prompt
        return [
            None if found is None else _position(found[0], found[1:], prompt[max(0, at - _CONTEXT) : at])
            for at, found in enumerate(self.sequence.prompt_logprobs)
        ]

    def take(self, step: Step) -> Delta:
        """Add a step. A stop string in the text makes it the last one, whatever the engine means to do."""
        text = ""
        positions: tuple[Position, ...] = ()
        if step.token is not None:
            positions = self._remember(step)
            # A token that ends the answer is not part of its text, unless wanted.
            if step.finish is not Finish.STOP or self._include_stop:
                text = self._detokenizer.push(step.token)
            self.token_ids.append(step.token)
        if self._detokenizer.stopped_by is not None:
            self.finish, self.stop_reason = Finish.STOP, self._detokenizer.stopped_by
        elif step.finish is not None:
            self.finish, self.stop_reason = step.finish, step.stop_reason
            text += self._detokenizer.close()
        if step.finish is not None:
            self.handover = self._handover()
        self._texts.append(text)
        token_ids = () if step.token is None else (step.token,)
        return Delta(text, token_ids, positions, self.finish, self.stop_reason)

    def _handover(self) -> Mapping[str, Any] | None:
        """What the connector wants the answer to carry.

        An answer of one token, prefill's, also tells what was cached before it, for decode to report (vLLM
        0.32, v1/core/sched/scheduler.py).
        """
        handover = self.sequence.handover
        if not handover or not handover.get("do_remote_prefill") or len(self.token_ids) != 1:
            return handover
        return {**handover, "remote_prefill_cached_tokens": self.sequence.cached + self.sequence.transferred}

    def _remember(self, step: Step) -> tuple[Position, ...]:
        if not self._logprobs or step.chosen is None:
            return ()
        position = _position(step.chosen, step.candidates, tuple(self.token_ids[-_CONTEXT:]))
        self.positions.append(position)
        return (position,)


def _position(chosen: Logprob, others: tuple[Logprob, ...], before: tuple[int, ...]) -> Position:
    ranked = (chosen, *(other for other in others if other.token != chosen.token))
    return tuple(Candidate(one.token, piece(one.token, before), one.logprob, one.rank) for one in ranked)
