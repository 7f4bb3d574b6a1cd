"""Where the requests of a load go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pdtest.wire.contract import Contract, Order, Station


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

    @property
    def station(self) -> Station:
        """Where its peers reach it."""
        return Station(address=urlsplit(self.url).hostname or "", ports=self.ports)


@dataclass(frozen=True, kw_only=True)
class Way:
    """``answers`` streams the answer: a proxy or a single instance; or decode, after ``prefill``.

    With ``prefill`` the client leads both legs of a handoff, as ``contract`` has it; its order must be
    `Order.PREFILL_FIRST`. Raises ValueError for others.
    """

    answers: Target
    prefill: Target | None = None
    contract: Contract | None = None

    def __post_init__(self) -> None:
        if self.prefill is None:
            return
        if self.contract is None or self.contract.obstacle or self.contract.order is not Order.PREFILL_FIRST:
            reason = self.contract.obstacle if self.contract else "no contract"
            raise ValueError(
                f"a load's client cannot lead both legs: {reason or 'prefill does not go first'}"
            )


def urls_of(ways: Iterable[Way]) -> frozenset[str]:
    """All servers that some ways touch."""
    targets = (target for way in ways for target in (way.prefill, way.answers))
    return frozenset(target.url for target in targets if target is not None)


def is_tls(url: str) -> bool:
    """Whether it takes the other client."""
    return url.lower().startswith("https:")
