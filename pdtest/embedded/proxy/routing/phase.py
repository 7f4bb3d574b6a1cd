"""The seam between the router and the rules by which requests take different ways."""

from __future__ import annotations

from typing import Protocol

from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.path import Path


class Phase(Protocol):
    """One rule."""

    @property
    def threshold(self) -> int | None:
        """Tokens of prompt from which on it is long, as it is now; None where lengths do not matter."""
        ...

    def path(self, request: ClientRequest) -> Path:
        """The way that ``request`` should take, whoever is there."""
        ...


class HandedOver:
    """Every request goes through prefill and decode."""

    threshold: int | None = None

    def path(self, request: ClientRequest) -> Path:  # noqa: ARG002
        """That one."""
        return Path.PREFILL


def by_lengths(*, is_long: bool, is_one_sided: bool) -> Path:
    """The way for a prompt that is long or not, and much longer than its answer or not."""
    if is_long and is_one_sided:
        return Path.PREFILL
    return Path.HYBRID if is_long or is_one_sided else Path.DECODE
