"""Where the requests of a load go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pdtest.wire.contract import Contract


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server that speaks OpenAI's completions: ``http://`` or ``https://``, a host and, maybe, a port.

    ``headers`` go with every request: ``{"Authorization": "Bearer ..."}``. ``ports`` are those of the member
    by name, for contracts whose request ids name them.
    """

    name: str
    url: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: Mapping[str, int] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Way:
    """``answers`` streams the answer: a proxy or a single instance; or decode, after ``prefill``.

    With ``prefill`` the client leads both legs of a handoff, as ``contract`` has it; its order must be
    `Order.PREFILL_FIRST`.
    """

    answers: Target
    prefill: Target | None = None
    contract: Contract | None = None
