from __future__ import annotations

import pytest
import yaml

from pdtest.cluster.diagnosis import diagnose
from pdtest.services.diagnoses import COMMON
from pdtest.services.embedded_engine import EmbeddedEngineService
from pdtest.services.embedded_program import EMBEDDED_DIAGNOSES, EMBEDDED_LOG
from pdtest.services.embedded_proxy import EmbeddedProxyService
from pdtest.services.embedded_store import EmbeddedStoreService

from .conftest import SAMPLES

LINES: dict[str, list[str]] = yaml.safe_load((SAMPLES / "embedded-lines.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("service", [EmbeddedEngineService, EmbeddedProxyService, EmbeddedStoreService])
@pytest.mark.parametrize(("name", "line"), [(name, line) for name, lines in LINES.items() for line in lines])
def test_the_line_gives_the_failure_away(name: str, line: str, service: type[EmbeddedEngineService]) -> None:
    finding = diagnose(["starting", line, "bye"], service.diagnoses)
    assert finding is not None
    assert (finding.diagnosis.name, finding.line) == (name, line)


def test_every_diagnosis_of_its_own_has_its_line() -> None:
    own = {diagnosis.name for diagnosis in EMBEDDED_DIAGNOSES} - {diagnosis.name for diagnosis in COMMON}
    assert own <= set(LINES)


def test_every_diagnosis_says_what_happened_and_what_to_do() -> None:
    assert all(diagnosis.meaning and diagnosis.remedy for diagnosis in EMBEDDED_DIAGNOSES)


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-21 05:35:24,341 ERROR pdtest.embedded.engine: a step of 3 sequences failed",
        "Traceback (most recent call last):",
        "Task exception was never retrieved",
    ],
)
def test_what_went_wrong_in_a_member_is_an_error(line: str) -> None:
    assert EMBEDDED_LOG.is_error(line)


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-21 05:35:24,341 INFO pdtest.embedded.engine: model loaded: /m, 640 blocks of 16 tokens",
        "2026-11-21 05:35:24,341 WARNING pdtest.embedded.engine: KV of cmpl-1-0 is computed here",
    ],
)
def test_news_are_no_errors(line: str) -> None:
    assert not EMBEDDED_LOG.is_error(line)
