from __future__ import annotations

import pytest
import yaml

from pdtest.cluster.diagnosis import diagnose
from pdtest.services.diagnoses import COMMON
from pdtest.services.registry import services

from .conftest import SAMPLES

LINES: dict[str, dict[str, list[str]]] = yaml.safe_load(
    (SAMPLES / "proxy-lines.yaml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(
    ("service", "name", "line"),
    [
        (service, name, line)
        for service, known in LINES.items()
        for name, lines in known.items()
        for line in lines
    ],
)
def test_the_line_gives_the_failure_away(service: str, name: str, line: str) -> None:
    finding = diagnose(["starting", line, "bye"], services()[service].diagnoses)
    assert finding is not None
    assert (finding.diagnosis.name, finding.line) == (name, line)


@pytest.mark.parametrize("service", LINES)
def test_every_diagnosis_has_its_line_and_says_what_to_do(service: str) -> None:
    own = [diagnosis for diagnosis in services()[service].diagnoses if diagnosis not in COMMON]
    assert {diagnosis.name for diagnosis in own} == set(LINES[service])
    assert all(diagnosis.meaning and diagnosis.remedy for diagnosis in own)
