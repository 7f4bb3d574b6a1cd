"""The names that environment files may use and that rooms above this one know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from pdtest.environment.schema import Member

#: The port names of a member and how many consecutive ports each takes.
PortsOf = Callable[[Member], Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class Term:
    """What checks need to know of a service.

    ``options`` is the model of its members' `options:`, None when they are free-form. ``hybrids``: it is a
    proxy that sends requests to hybrid members, too.
    """

    ports: PortsOf
    options: type[BaseModel] | None = None
    hybrids: bool = False


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Known services, launchers and contracts by name; tampers by contract.

    ``attached`` are the launchers that start nothing, whose members need a url.
    """

    services: Mapping[str, Term]
    launchers: frozenset[str]
    tampers: Mapping[str, frozenset[str]]
    attached: frozenset[str] = frozenset({"attach"})

    @property
    def contracts(self) -> frozenset[str]:
        """Names of the wire contracts."""
        return frozenset(self.tampers)
