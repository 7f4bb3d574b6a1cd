from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pdtest.environment.loading import load
from pdtest.services.registry import services

from .conftest import placed


@pytest.mark.parametrize(
    ("given", "program"),
    [({}, sys.executable), ({"VLLM_PYTHON": "/opt/venv/bin/python"}, "/opt/venv/bin/python")],
)
def test_an_empty_variable_means_the_interpreter_of_pytest(
    given: dict[str, str], program: str, tmp_path: Path
) -> None:
    file = tmp_path / "env.yaml"
    file.write_text("""\
model: {path: somewhere, dtype: float32, block_size: 32, max_model_len: 2048}
connector: {contract: [nixl]}
reference: {kind: borrowed, member: decode}
defaults: {vllm: {options: {python: "/never"}}}
members:
  prefill: {role: prefill, service: vllm}
  decode:
    role: decode
    service: vllm
    options:
      python: ${VLLM_PYTHON:-}
""")
    environment = load(file, variables=given)
    command = services()["vllm"].render(placed(environment, "decode", services()))
    assert command.argv[0] == program
