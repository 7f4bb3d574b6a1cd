"""Events in the life of a request, and of the handoff that it is part of.

A request is sent, and then answered, errored or abandoned; each exactly once. Bodies are cut short
and secrets are masked before an event is made. Times are seconds; those of a request count from when
it was sent, those of a handoff from its start.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from pdtest.events.record import Event


class RequestSent(Event):
    """A request for tokens left for a member. ``digest`` names what was asked, whoever answers."""

    member: str
    request_id: str
    test: str
    path: str
    digest: str
    #: None where only the server can count: text and chat prompts.
    prompt_tokens: int | None
    max_tokens: int
    n: int
    stream: bool
    params: dict[str, Any] | None


class RequestAnswered(Event):
    """A member answered completely.

    ``answer_digest`` names the tokens that came: equal for equal answers, None where the server tells no ids.
    """

    member: str
    request_id: str
    test: str
    status: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None
    finish_reasons: tuple[str, ...]
    params: dict[str, Any] | None
    first_byte_s: float
    first_token_s: float | None
    last_token_s: float | None
    total_s: float
    answer_digest: str | None = None


class RequestErrored(Event):
    """A request ended without an answer. ``error`` is the class of the error."""

    member: str
    request_id: str
    test: str
    error: str
    message: str
    status: int | None
    body: str | None
    elapsed_s: float


class RequestAbandoned(Event):
    """The client gave up, as a user does who closes the browser. What the server did is unknown."""

    member: str
    request_id: str
    test: str
    elapsed_s: float


class HopRecord(BaseModel):
    """One request of a handoff: what was sent, what came back, when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    member: str
    sent: dict[str, Any] | None
    answered: dict[str, Any] | None
    error: str | None
    started_s: float
    first_token_s: float | None
    ended_s: float


class HandoffFinished(Event):
    """A handoff is over, well or badly. Through a proxy only the ``proxy`` hop was seen."""

    request_id: str
    test: str
    contract: str
    route: str
    outcome: str
    digest: str
    prompt_tokens: int | None
    completion_tokens: int | None
    prefill: HopRecord | None
    decode: HopRecord | None
    proxy: HopRecord | None
    #: True when a test falsified the parameters between the legs.
    tampered: bool
    breaches: tuple[str, ...]
    extra: tuple[str, ...]
    drift: tuple[str, ...]
    error: str | None
    total_s: float
