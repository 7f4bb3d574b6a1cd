from __future__ import annotations

import pytest
import yaml

from pdtest.cluster.diagnosis import diagnose
from pdtest.services.diagnoses import COMMON

from .conftest import SAMPLES

LINES: dict[str, list[str]] = yaml.safe_load((SAMPLES / "common-lines.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, lines in LINES.items() for line in lines])
def test_the_line_gives_the_failure_away(name: str, line: str) -> None:
    finding = diagnose(["starting", line, "bye"], COMMON)
    assert finding is not None
    assert (finding.diagnosis.name, finding.line) == (name, line)


def test_every_diagnosis_has_its_line() -> None:
    assert set(LINES) == {diagnosis.name for diagnosis in COMMON}


@pytest.mark.parametrize(
    "line",
    [
        "WARNING [system_utils.py:255] ... fd limit errors like `OSError: [Errno 24] Too many open files`.",
        "torch.OutOfMemoryError: CUDA out of memory.",
        "INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
    ],
)
def test_lines_that_only_look_like_it(line: str) -> None:
    assert diagnose([line], COMMON) is None


def test_every_diagnosis_says_what_happened_and_what_to_do() -> None:
    assert all(diagnosis.meaning and diagnosis.remedy for diagnosis in COMMON)
