"""A load as it will be put on: how long each prompt is, and when it arrives."""

from __future__ import annotations

from dataclasses import dataclass

from pdtest.environment.load import Load, Spacing
from pdtest.environment.schema import Environment
from pdtest.load.arrival import at_random, evenly
from pdtest.load.impossible import ImpossibleLoad
from pdtest.load.lengths import long_tail

#: Median of the lengths over the longest, where the environment says nothing.
_MEDIAN = 1 / 10


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``arrivals`` in seconds, ``lengths`` of the prompts in tokens, both in the order of arrival."""

    load: Load
    arrivals: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def rate(self) -> float:
        """Requests per second, on average."""
        return self.load.requests / self.load.over_s


def planned(environment: Environment) -> Plan:
    """What ``environment.load`` asks for. Raises ImpossibleLoad."""
    load, prompt = environment.load, environment.load.prompt
    room = environment.model.max_model_len - load.max_tokens
    longest = min(prompt.longest or room, room)
    if prompt.shortest > longest:
        raise ImpossibleLoad(
            f"environment '{environment.name}': no prompt is long enough and leaves room for its answer",
            expected=f"load.prompt: shortest {prompt.shortest} or less than what fits",
            seen=f"{longest}: model.max_model_len {environment.model.max_model_len}, "
            f"load.max_tokens {load.max_tokens}, load.prompt.longest {prompt.longest}",
            next_step="lower load.max_tokens or load.prompt.shortest",
        )
    return Plan(
        load=load,
        arrivals=(
            evenly(load.requests, load.over_s)
            if load.spacing is Spacing.EVEN
            else at_random(load.requests, load.over_s, seed=load.seed)
        ),
        lengths=long_tail(
            load.requests,
            median=prompt.median or longest * _MEDIAN,
            sigma=prompt.sigma,
            shortest=prompt.shortest,
            longest=longest,
            seed=load.seed,
        ),
    )
