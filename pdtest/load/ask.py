"""The requests of a load, made before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdtest.environment.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request. ``due_s``: seconds of the load's clock, None in a closed loop.

    ``body`` is what is posted to ``path``, but for the model and what a handoff adds.
    """

    number: int
    request_id: str
    due_s: float | None
    prompt_tokens: int | None
    max_tokens: int
    path: str
    body: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """A workload as it will be put on. ``warm_up`` is sent before, and not measured."""

    workload: Workload
    asks: tuple[Ask, ...]
    warm_up: tuple[Ask, ...] = ()


def lay_out(
    workload: Workload, *, vocab_size: int, max_model_len: int, salt: str = "", base: Path | None = None
) -> LoadPlan:
    """The requests that ``workload`` asks for.

    ``salt`` decides the contents of the prompts, and nothing else: give each run on the same engines
    another. ``base``: the folder that the file of a trace is relative to. Raises ImpossibleLoad where
    a prompt and its answer are longer than ``max_model_len``, and for a trace that cannot be read.
    """
    raise NotImplementedError
