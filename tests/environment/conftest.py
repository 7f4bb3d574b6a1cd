from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from pdtest.environment.finding import EnvironmentInvalid, Finding
from pdtest.environment.loading import load
from pdtest.environment.vocabulary import Term, Vocabulary

Write = Callable[[str, str], Path]
Findings = Callable[..., tuple[Finding, ...]]

#: The smallest file that is valid; tests change one line of it.
MINIMAL = """\
model:
  path: somewhere
  dtype: float32
  block_size: 32
  max_model_len: 2048
connector:
  contract: [nixl]
hosts:
  local:
    devices:
      kind: core
      ids: [0, 1, 2]
members:
  prefill:
    role: prefill
    service: vllm
    devices: [0]
  decode:
    role: decode
    service: vllm
    devices: [1]
  colocated:
    role: colocated
    service: vllm
    devices: [2]
"""


class EngineOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    threads: int = 1
    #: Keys of a program's own file have dots.
    level: Literal["low", "high"] = Field(default="low", alias="ock.mmc.level")


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(
        services={
            "vllm": Term(ports=lambda _: {"http": 1, "side_channel": 2}, options=EngineOptions),
            "fussy": Term(
                ports=lambda member: {"any": EngineOptions.model_validate(member.options).threads},
                options=EngineOptions,
            ),
            "toy-proxy": Term(ports=lambda _: {"http": 1}),
        },
        launchers=frozenset({"local", "attach"}),
        tampers={"nixl": frozenset({"stale", "swapped_blocks"}), "example": frozenset()},
    )


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    return write


@pytest.fixture
def findings(tmp_path: Path, vocabulary: Vocabulary) -> Findings:
    """What is wrong with the minimal file once ``old`` is replaced by ``new``, and ``more`` added."""

    def findings(old: str = "", new: str = "", *, more: str = "", **variables: str) -> tuple[Finding, ...]:
        assert old in MINIMAL
        file = tmp_path / "env.yaml"
        file.write_text(MINIMAL.replace(old, new, 1) + more)
        try:
            load(file, vocabulary=vocabulary, variables=variables)
        except EnvironmentInvalid as error:
            return error.findings
        return ()

    return findings
