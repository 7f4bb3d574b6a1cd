"""A link as the environment names it, and the relay that carries it."""

from __future__ import annotations

from dataclasses import dataclass

from pdtest.links.relay import Relay


@dataclass(frozen=True, kw_only=True)
class Link:
    """From ``source`` (None: from everybody) to one port of the member ``target``.

    ``relays``: one for each of the consecutive ports that the member has under that name.
    """

    source: str | None
    target: str
    port: str
    relays: tuple[Relay, ...]

    @property
    def name(self) -> str:
        """As ``decode -> prefill:side_channel``."""
        return f"{self.source or '*'} -> {self.target}:{self.port}"
