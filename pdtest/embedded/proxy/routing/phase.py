"""The seam between the router and the rules by which requests take different ways."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class ByLengths(ABC):
    """Rules that ask two questions. Both: handed over. Neither: decode alone. One of them: a hybrid alone."""

    @property
    @abstractmethod
    def threshold(self) -> int | None:
        """As in `Phase`."""

    @abstractmethod
    def is_long(self, prompt_tokens: int) -> bool:
        """Whether a prompt is worth an instance that computes prompts."""

    @abstractmethod
    def is_one_sided(self, request: ClientRequest) -> bool:
        """Whether the prompt is much longer than its answer."""

    def path(self, request: ClientRequest) -> Path:
        """By both answers."""
        is_long, is_one_sided = self.is_long(request.prompt_tokens), self.is_one_sided(request)
        if is_long and is_one_sided:
            return Path.PREFILL
        return Path.HYBRID if is_long or is_one_sided else Path.DECODE
