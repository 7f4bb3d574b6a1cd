"""How an environment's router decides: what it is set to, and what suites/routing hold it against.

A router that pdtest starts is told all this by its service; one that it attaches to, or whose service knows
nothing of a setting, is only held against it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pdtest.environment.strict import Strict


class Spread(StrEnum):
    """Which of the instances that could serve a request gets it. The names are vllm-router's and ours."""

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    LEAST_LOADED = "least_loaded"
    POWER_OF_TWO = "power_of_two"
    KV_LENGTH = "kv_length"
    CACHE_AWARE = "cache_aware"
    CONSISTENT_HASH = "consistent_hash"


class ByPhase(Strict):
    """Which way a request takes, by its lengths.

    Two questions are asked of a request: is its prompt *long*, that is, has it at least ``input_threshold``
    tokens; and is it *one-sided*, that is, are there at least ``ratio`` tokens of prompt per token of answer.
    Both: prefill computes the prompt and hands it over to decode. Neither: a decode instance does all of it.
    One of the two: a hybrid instance does all of it; where there is none, it is handed over.

    With ``threshold`` an answer counts as long as it may become (``max_tokens``). With ``adaptive`` it counts
    as long as answers were of late, and never longer than it may become; and while prefill has more to do
    than decode, the threshold is higher, and lower while it is the other way round.
    """

    policy: Literal["threshold", "adaptive"] = Field(
        default="adaptive", description="threshold: lengths alone decide; adaptive: load and answers, too"
    )
    input_threshold: int = Field(default=800, gt=0, description="tokens; a prompt of so many is long")
    ratio: float = Field(default=4.0, gt=0, description="tokens of prompt per token of answer")
    flex: float = Field(
        default=2.0, ge=1, description="adaptive: the threshold moves by this factor at most, up or down"
    )


class Session(Strict):
    """Requests that belong together go to the same instances."""

    header: str = Field(default="x-session-id", description="what tells sessions apart")
    idle_s: float = Field(
        default=60.0, gt=0, description="a session that was not heard of for so long starts anew"
    )


class Bounds(Strict):
    """How few and how many instances of a role there may be."""

    least: int = Field(default=1, ge=1)
    most: int = Field(ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise PydanticCustomError("order", "least to be at most most")
        return self


class Scaling(Strict):
    """Between which bounds the router may ask for more and fewer instances, and when."""

    prefill: Bounds | None = None
    decode: Bounds | None = None
    busy: float = Field(
        default=0.8, gt=0, le=1, description="share of its time that an instance works, for one more to start"
    )
    idle: float = Field(
        default=0.2, ge=0, lt=1, description="share of its time that an instance works, for one to stop"
    )
    over_s: float = Field(default=2.0, gt=0, description="seconds for which it must have been so")


class Routing(Strict):
    """What is said of a router. Where nothing is said, nothing is checked."""

    observe: Literal["auto", "headers", "request-id", "metrics"] = Field(
        default="auto",
        description="how to learn who served a request; auto: as the router's service knows best",
    )
    phase: ByPhase | None = Field(
        default=None, description="requests take different ways; null: every one is handed over"
    )
    prefill: Annotated[Spread, Field(strict=False)] | None = Field(
        default=None, description="which prefill instance gets a request"
    )
    decode: Annotated[Spread, Field(strict=False)] | None = Field(
        default=None, description="which decode instance gets a request"
    )
    session: Session | None = None
    scaling: Scaling | None = None
    takes_up_s: float = Field(
        default=5.0,
        gt=0,
        description="an instance that came is used, and one that went is avoided, after this",
    )
    settles_s: float = Field(
        default=10.0, gt=0, description="adaptive: decisions are what they were, so long after a load is over"
    )
    decision_p99_s: float = Field(default=0.010, gt=0, description="99 of 100 decisions are made within this")
    hit_rate: float = Field(
        default=0.30,
        ge=0,
        le=1,
        description="share of prompt tokens that caches must have where prefixes repeat",
    )
    overload: float = Field(
        default=0.95, gt=0, le=1, description="a prefill instance that is busier than this is overloaded"
    )
