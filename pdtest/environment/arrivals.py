"""When the requests of a workload arrive: what environment files say of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pdtest.environment.strict import Strict

Rate = Annotated[float, Field(gt=0, description="requests per second")]


class Constant(Strict):
    """At a steady pace."""

    pattern: Literal["constant"]
    rate: Rate


class Poisson(Strict):
    """As of independent users: exponential gaps."""

    pattern: Literal["poisson"]
    rate: Rate


class Gamma(Strict):
    """Gaps of a gamma distribution, as ``vllm bench serve --request-rate R --burstiness B`` has them."""

    pattern: Literal["gamma"]
    rate: Rate
    burstiness: float = Field(
        gt=0, description="the distribution's shape: below 1 burstier than Poisson, above 1 more even"
    )


class Burst(Strict):
    """Several at the same moment, again and again."""

    pattern: Literal["burst"]
    size: int = Field(gt=0, description="requests at once")
    every_s: float = Field(gt=0, description="from one burst to the next, seconds")


class Ramp(Strict):
    """A rate that grows, or falls, steadily from the first request to the last."""

    pattern: Literal["ramp"]
    from_rate: float = Field(ge=0, description="requests per second at the beginning")
    to_rate: Rate
    random: bool = Field(default=True, description="as of independent users; false: at a steady pace")


class Closed(Strict):
    """So many users, each of whom asks again as soon as the answer is there: a closed loop."""

    pattern: Literal["closed"]
    concurrency: int = Field(gt=0, description="requests under way at any time")


class Replay(Strict):
    """The arrivals and lengths of a recorded trace.

    JSON lines. ``timestamp`` in milliseconds, ``input_length``, ``output_length`` and, optionally,
    ``hash_ids`` (equal ids are equal blocks of the prompt), as Mooncake publishes its traces; or ``at_s`` in
    seconds, ``prompt_tokens``, ``max_tokens``.
    """

    pattern: Literal["replay"]
    file: str = Field(description="the trace; relative to the environment file")
    speed: float = Field(default=1.0, gt=0, description="2: in half the time")
    hash_block: int = Field(default=512, gt=0, description="tokens of a block in hash_ids")


Arrivals = Annotated[
    Constant | Poisson | Gamma | Burst | Ramp | Closed | Replay, Field(discriminator="pattern")
]
