"""Choosing tokens and reporting log-probabilities."""

from __future__ import annotations

import random

import numpy as np

from pdtest.embedded.engine.sequence import Logprob, Sequence
from pdtest.embedded.model.exact import UNITS, Floats, exp_parts, log_softmax

#: Below this vLLM takes a temperature for 0 (v1/sample/sampler.py).
_COLDEST = 1e-5


class Sampler:
    """Chooses the tokens of one sequence.

    Random numbers depend on the sequence's seed alone (the API gives each choice one of its own, as vLLM
    does); without a seed, on the engine's, the request's id and which choice it is.
    """

    def __init__(self, sequence: Sequence, *, eos_id: int, seed: int) -> None:
        self._sequence = sequence
        self._sampling = sampling = sequence.sampling
        ends = sampling.stop_token_ids if sampling.ignore_eos else sampling.stop_token_ids | {eos_id}
        self._early = sorted(ends) if sampling.min_tokens else []
        self._plain = sampling.temperature < _COLDEST and not sampling.logit_bias and not self._early
        own = f"{seed}/{sequence.request_id}/{sequence.choice}" if sampling.seed is None else sampling.seed
        self._random = random.Random(own)  # noqa: S311 - not for secrets

    def choose(self, logits: Floats) -> int:
        """The next token. ``logits``: one row, left as it is."""
        if self._plain:
            return int(logits.argmax())
        sampling = self._sampling
        logits = logits.copy()
        for token, bias in sampling.logit_bias.items():
            logits[token] += bias
        if len(self._sequence.output) < sampling.min_tokens:
            logits[self._early] = -np.inf
        if sampling.temperature < _COLDEST:
            return int(logits.argmax())
        return self._draw(logits)

    def _draw(self, logits: Floats) -> int:
        sampling = self._sampling
        order = np.argsort(-logits, kind="stable")
        if sampling.top_k > 0:
            order = order[: sampling.top_k]
        sorted_logits = logits[order]
        distance = (sorted_logits[0] - sorted_logits) / sampling.temperature
        # Whole numbers, hence exact sums.
        sums = np.cumsum(exp_parts(np.rint(distance * UNITS) / UNITS))
        # The fewest that have top_p together.
        kept = int(np.searchsorted(sums, sampling.top_p * sums[-1])) + 1
        sums = sums[:kept]
        return int(order[np.searchsorted(sums, self._random.random() * sums[-1], side="right")])


def reported(logits: Floats, token: int, candidates: int) -> tuple[Logprob, tuple[Logprob, ...]]:
    """Log-probability of ``token``, and those of the best ``candidates`` (all when negative), best first.

    Those of the bare logits, before temperature and bias, as vLLM's ``raw_logprobs``, its default.
    """
    values = log_softmax(logits)
    rank = int(np.count_nonzero(logits > logits[token])) + 1
    chosen = Logprob(token, float(values[token]), rank)
    if not candidates:
        return chosen, ()
    best = np.argsort(-logits, kind="stable")[: None if candidates < 0 else candidates]
    return chosen, tuple(Logprob(int(one), float(values[one]), place) for place, one in enumerate(best, 1))


def report_prompt(sequence: Sequence, start: int, logits: Floats) -> None:
    """Note the prompt's log-probabilities. Row i of ``logits`` tells what followed token ``start`` + i.

    What was noted before, ere the sequence was preempted, stays.
    """
    entries = sequence.prompt_logprobs
    if not entries:
        entries.append(None)
    for position, row in enumerate(logits, start + 1):
        if position == len(entries) < len(sequence.prompt):
            own, best = reported(row, sequence.prompt[position], sequence.sampling.prompt_logprobs or 0)
            entries.append((own, *best))
