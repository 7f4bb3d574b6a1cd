"""A load for measuring: when requests arrive, how long they are, how many there are."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pdtest.environment.arrivals import Arrivals, Closed, Poisson, Replay
from pdtest.environment.distributions import Distribution, Fixed
from pdtest.environment.strict import Strict


class Prefixes(Strict):
    """Beginnings that prompts share, as system prompts and documents are. They count in a prompt's length."""

    tokens: int = Field(
        gt=0, description="length of each beginning; a shorter prompt has only its first part"
    )
    kinds: int = Field(default=1, gt=0, description="how many different ones there are")
    share: float = Field(default=1.0, gt=0, le=1, description="of the requests that begin with one")


class ClientLimits(Strict):
    """Beyond these a load says nothing about the server, but about its client: it is INVALID."""

    loop_lag_p99_s: float = Field(
        default=0.020, gt=0, description="how late the client's event loop may be, in 99 of 100 looks"
    )
    schedule_lag_p99_s: float = Field(
        default=0.020, gt=0, description="how much later than due 99 of 100 requests may be sent"
    )
    cpu_share: float = Field(
        default=0.85, gt=0, le=1, description="of one core, that its busiest process may use"
    )
    coalesced_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="of the events that may come together with an earlier one, in a client half busy or more",
    )
    concurrency: float = Field(
        default=0.9, ge=0, le=1, description="of a closed loop's concurrency that must be reached, on average"
    )


class Workload(Strict):
    """Requests to put on a deployment.

    Everything is decided before the start, by ``seed``: requests of the same lengths at the same times in
    every run. Only the contents of prompts differ, so that no cache knows them from the run before.
    At least one of ``requests`` and ``duration_s`` is given, unless arrivals are replayed, and ``requests``
    for a closed loop; with both, what is reached first ends it. No new request is sent then; those under
    way are waited for.
    """

    arrivals: Arrivals = Field(default=Poisson(pattern="poisson", rate=4.0))
    prompt: Distribution = Field(
        default=Fixed(shape="fixed", tokens=128), description="tokens of the prompts"
    )
    answer: Distribution = Field(default=Fixed(shape="fixed", tokens=64), description="tokens of the answers")
    prefixes: Prefixes | None = None
    form: Literal["tokens", "text", "chat"] = Field(
        default="tokens",
        description=(
            "tokens: prompts of random token ids, exactly as long as they should be; text, chat: random "
            "words, of one token or more each"
        ),
    )
    requests: int | None = Field(default=None, gt=0)
    duration_s: float | None = Field(default=None, gt=0, description="requests are sent for so long")
    warm_up: int = Field(default=0, ge=0, description="requests that are sent before, and are not measured")
    token_ids: bool = Field(
        default=True,
        description="asks for return_token_ids, to count the tokens of an event; false: an event is a token",
    )
    ignore_eos: bool = Field(default=True, description="answers are as long as asked for")
    seed: int = 1
    client: ClientLimits = ClientLimits()

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.requests is None and self.duration_s is None and not isinstance(self.arrivals, Replay):
            raise PydanticCustomError("end", "requests or duration_s, or both: it would never end")
        if isinstance(self.arrivals, Closed) and self.requests is None:
            raise PydanticCustomError("end", "requests: the most that a closed loop may need")
        return self
