"""Members by the addresses under which routers know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

from pdtest.client.endpoint import Endpoint


class Addresses:
    """Which engine listens at ``host:port``, on any of its ports: ids of P2P NCCL name the one for KV."""

    def __init__(self, members: Mapping[str, str]) -> None:
        """``members`` by ``host:port``."""
        self._members = members

    @classmethod
    def of(cls, engines: Mapping[str, Endpoint]) -> Self:
        """Those of ``engines``, as the environment places them."""
        return cls(
            {
                address: name
                for name, engine in engines.items()
                for address in (location(engine.url), *_ports(engine))
            }
        )

    def member(self, address: str) -> str | None:
        """Who listens there; None for somebody who is no engine of the environment."""
        return self._members.get(address)


def location(url: str) -> str:
    """``host:port`` of a URL, as routers write it; the port that the scheme implies is said."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    bracketed = f"[{host}]" if ":" in host else host
    return f"{bracketed}:{parts.port or {'https': 443}.get(parts.scheme, 80)}"


def _ports(engine: Endpoint) -> tuple[str, ...]:
    host = location(engine.url).rpartition(":")[0]
    return tuple(f"{host}:{port}" for port in engine.ports.values())
