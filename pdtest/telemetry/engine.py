"""An engine's own numbers, from its /metrics."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from pdtest.client.metrics import Metrics
from pdtest.telemetry.meter import Offer, Seen
from pdtest.telemetry.settings import Engine

_TIMEOUT_S: Final = 5.0
_OK: Final = 200

#: vLLM 0.32. Ranks of data parallelism are summed; of their caches the fullest counts.
_NAMES: Final[Mapping[str, tuple[str, Callable[[Metrics, str], float | None]]]] = {
    "kv_usage": ("vllm:kv_cache_usage_perc", Metrics.gauge),
    "running": ("vllm:num_requests_running", Metrics.total),
    "waiting": ("vllm:num_requests_waiting", Metrics.total),
    "prompt_tokens": ("vllm:prompt_tokens", Metrics.total),
    "generation_tokens": ("vllm:generation_tokens", Metrics.total),
    "preemptions": ("vllm:num_preemptions", Metrics.total),
}
_FAMILIES: Final = tuple(name for name, _ in _NAMES.values())


class EngineMeter:
    """One engine, over one connection that stays open."""

    def __init__(self, engine: Engine, every_s: float) -> None:
        self.every_s = every_s
        self._engine = engine
        self._connection: http.client.HTTPConnection | None = None

    def open(self) -> Sequence[Offer]:
        """It may not serve yet, so what it tells is found out by each reading."""
        return [
            Offer(
                name=self._engine.member,
                kind="member",
                members=(self._engine.member,),
                every_s=self.every_s,
                quantities=tuple(_NAMES),
            )
        ]

    def read(self) -> Mapping[str, Seen]:
        """Raises OSError or HTTPException where it does not answer, LookupError for other answers."""
        metrics = Metrics.parse(self._text(), _FAMILIES)
        told = {name: read(metrics, family) for name, (family, read) in _NAMES.items()}
        seen = Seen(
            values={name: value for name, value in told.items() if value is not None},
            missing={
                name: f"{self._engine.url}/metrics does not export {_NAMES[name][0]}"
                for name, value in told.items()
                if value is None
            },
        )
        return {self._engine.member: seen}

    def close(self) -> None:
        """Hang up."""
        self._hang_up()

    def _text(self) -> str:
        """Raises as `read` does. A connection that the engine has closed meanwhile is made anew, once."""
        kept = self._connection is not None
        try:
            return self._ask()
        except (OSError, http.client.HTTPException):
            self._hang_up()
            if not kept:
                raise
        try:
            return self._ask()
        except (OSError, http.client.HTTPException):
            self._hang_up()
            raise

    def _ask(self) -> str:
        place = urlsplit(self._engine.url)
        if self._connection is None:
            kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(place.hostname or "", place.port, timeout=_TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self._engine.api_key}"} if self._engine.api_key else {}
        self._connection.request("GET", f"{place.path.rstrip('/')}/metrics", headers=headers)
        answer = self._connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        if answer.status != _OK:
            raise LookupError(f"{self._engine.url}/metrics answers {answer.status} {answer.reason}")
        return text

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.close()
