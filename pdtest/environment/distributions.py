"""How long prompts and answers of a workload are, in tokens: what environment files say of it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pdtest.environment.strict import Strict

Tokens = Annotated[int, Field(gt=0, description="tokens")]


class Fixed(Strict):
    """All of one length."""

    shape: Literal["fixed"]
    tokens: Tokens


class _Bounded(Strict):
    """Cut off at both ends."""

    shortest: Tokens = 1
    longest: Tokens

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.shortest > self.longest:
            raise PydanticCustomError("order", "shortest to be at most longest")
        return self


class Uniform(_Bounded):
    """Every length from ``shortest`` to ``longest`` as often as any other."""

    shape: Literal["uniform"]


class LogNormal(_Bounded):
    """Most are short and a few very long."""

    shape: Literal["lognormal"]
    median: Tokens
    sigma: float = Field(
        default=1.0, ge=0, description="of the logarithm; with 1.2, one in 100 is 16 medians"
    )


class Pareto(_Bounded):
    """A long tail: of the lengths above any, the share that is above its double is always the same."""

    shape: Literal["pareto"]
    alpha: float = Field(
        default=1.5, gt=0, description="2 ** -alpha is that share; the smaller, the longer the tail"
    )


class Bimodal(Strict):
    """Short ones and long ones, as of chats beside documents."""

    shape: Literal["bimodal"]
    short: Tokens
    long: Tokens
    long_share: float = Field(gt=0, lt=1, description="of the requests that are long")
    spread: float = Field(
        default=0.0, ge=0, lt=1, description="each lies evenly within this share around its mode"
    )


class Empirical(Strict):
    """Lengths that were seen, each as often as it was."""

    shape: Literal["empirical"]
    tokens: tuple[Tokens, ...] = Field(strict=False, min_length=1, description="the lengths that were seen")


Distribution = Annotated[
    Fixed | Uniform | LogNormal | Pareto | Bimodal | Empirical, Field(discriminator="shape")
]
