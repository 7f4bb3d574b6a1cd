"""What an engine that somebody else runs says of itself: models, version, metrics, set-up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import RequestFailed
from pdtest.client.metrics import Metrics

#: What vLLM exports of its KV cache: all of CacheConfig, as labels (0.32, v1/metrics/loggers.py).
_CACHE: Final = "vllm:cache_config_info"
_T = TypeVar("_T")
_SECTIONS: Final = ("cache_config", "parallel_config", "model_config", "scheduler_config")


@dataclass(frozen=True, kw_only=True)
class Card:
    """One of the models under /v1/models. ``root`` is its path or hub name on the server."""

    name: str
    max_model_len: int | None
    root: str | None


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """None: the server does not tell. ``setup`` is what vLLM says of itself in development mode only."""

    cards: tuple[Card, ...] | None
    version: str | None
    metrics: Metrics | None = field(repr=False)
    setup: Mapping[str, Any] | None = field(repr=False)

    def card(self, name: str) -> Card | None:
        """The model of that name."""
        return next((card for card in self.cards or () if card.name == name), None)

    def setting(self, name: str) -> tuple[str, str] | None:
        """A setting by vLLM's name for it, as text, and where that is written. None: it does not tell."""
        for section in _SECTIONS:
            settings = (self.setup or {}).get(section)
            if isinstance(settings, Mapping) and settings.get(name) is not None:
                return str(settings[name]), f"/server_info, {section}"
        for labels, _ in self.metrics.samples.get(_CACHE, ()) if self.metrics else ():
            if labels.get(name) is not None:
                return labels[name], _CACHE
        return None

    @property
    def transfer(self) -> Mapping[str, Any] | None:
        """Its kv-transfer-config; empty where it runs without one."""
        if self.setup is None or "kv_transfer_config" not in self.setup:
            return None
        config = self.setup["kv_transfer_config"]
        return config if isinstance(config, Mapping) else {}


async def appearance_of(endpoint: Endpoint) -> Appearance:
    """Ask for everything at once. What is refused, or is not what it should be, is not told."""
    models, version, metrics, info = await asyncio.gather(
        _told(endpoint.document("/v1/models")),
        _told(endpoint.version()),
        _told(endpoint.metrics()),
        _told(endpoint.document("/server_info?config_format=json")),
    )
    setup = info.get("vllm_config") if info else None
    return Appearance(
        cards=_cards(models),
        version=version,
        metrics=metrics,
        setup=setup if isinstance(setup, Mapping) else None,
    )


async def _told(asked: Coroutine[Any, Any, _T]) -> _T | None:
    try:
        return await asked
    except RequestFailed:
        return None


def _cards(models: Mapping[str, Any] | None) -> tuple[Card, ...] | None:
    listed = models.get("data") if models else None
    if not isinstance(listed, list):
        return None
    return tuple(
        Card(
            name=str(model.get("id")),
            max_model_len=_whole(model.get("max_model_len")),
            root=model.get("root") if isinstance(model.get("root"), str) else None,
        )
        for model in listed
        if isinstance(model, Mapping)
    )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
