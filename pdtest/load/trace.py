"""Recorded arrivals and lengths, to be replayed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pdtest.environment.arrivals import Replay
from pdtest.load.impossible import ImpossibleLoad

_MS = 1e-3
#: What published traces call our fields (Mooncake's FAST25-release/traces: timestamp in milliseconds,
#: input_length, output_length, hash_ids of 512 tokens each).
_PUBLISHED = {"input_length": "prompt_tokens", "output_length": "max_tokens"}


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")

    at_s: float = Field(ge=0)
    prompt_tokens: int = Field(gt=0)
    max_tokens: int = Field(gt=0)
    hash_ids: tuple[int, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, row: Any) -> Any:
        if not isinstance(row, Mapping):
            return row
        known = {_PUBLISHED.get(name, name): value for name, value in row.items()}
        if "timestamp" in known and "at_s" not in known:
            known["at_s"] = known["timestamp"] * _MS
        return known


@dataclass(frozen=True, kw_only=True)
class Traced:
    """One request. ``at_s``: from the first one. ``blocks``: of its prompt, equal numbers for equal ones."""

    at_s: float
    prompt_tokens: int
    max_tokens: int
    blocks: tuple[int, ...] = ()

    @classmethod
    def read(cls, replay: Replay, base: Path | None) -> tuple[Self, ...]:
        """All rows of a trace's file, by time. Raises ImpossibleLoad where it cannot be read."""
        path = (base or Path()) / replay.file
        try:
            rows = sorted(_rows(path), key=lambda row: row.at_s)
        except OSError as error:
            raise ImpossibleLoad(
                "its trace cannot be read",
                seen=error.strerror,
                where=str(path),
                next_step="see arrivals.file",
            ) from error
        if not rows:
            raise ImpossibleLoad("its trace has no requests", where=str(path))
        first_s = rows[0].at_s
        return tuple(
            cls(
                at_s=(row.at_s - first_s) / replay.speed,
                prompt_tokens=row.prompt_tokens,
                max_tokens=row.max_tokens,
                blocks=row.hash_ids,
            )
            for row in rows
        )


def _rows(path: Path) -> Iterator[_Row]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield _Row.model_validate_json(line)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            raise ImpossibleLoad(
                "a line of its trace is no request",
                expected="timestamp (ms), input_length, output_length; or at_s, prompt_tokens, max_tokens",
                seen=f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}",
                where=f"{path}:{number}",
            ) from error
