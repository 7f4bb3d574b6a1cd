from __future__ import annotations

from collections.abc import Sequence

import pytest
import yaml

from pdtest.cluster.diagnosis import diagnose
from pdtest.services.ascend_diagnoses import ASCEND
from pdtest.services.ascend_lb_proxy import ASCEND_PROXY, AscendLbProxyService
from pdtest.services.mmc_diagnoses import MMC
from pdtest.services.mmc_meta_service import MmcMetaService
from pdtest.services.service import Diagnosis
from pdtest.services.vllm_ascend import VllmAscendService

from .conftest import SAMPLES


def _lines(sample: str) -> dict[str, list[str]]:
    loaded: dict[str, list[str]] = yaml.safe_load((SAMPLES / sample).read_text(encoding="utf-8"))
    return loaded


ENGINE, MEMCACHE = _lines("ascend-lines.yaml"), _lines("mmc-lines.yaml")
PROXY = {
    "wildcard address": ["ValueError: ..., the Wildcard Address 0.0.0.0 is not allowed for proxy"],
    "instance not added": ["Instance 0.0.0.0:8102 was not added to the proxy."],
    "backend not reached": [
        "ERROR 11-21 08:00:00 [proxy.py:300] All 3 attempts failed for /completions.",
        "WARNING [__main__] GET /models from 127.0.0.1:8100 failed: All connection attempts failed",
    ],
}
#: Both services meet memcache's lines: the local service runs inside the engine.
EVERY = [
    *((VllmAscendService.diagnoses, name, line) for name, lines in ENGINE.items() for line in lines),
    *((VllmAscendService.diagnoses, name, line) for name, lines in MEMCACHE.items() for line in lines),
    *((MmcMetaService.diagnoses, name, line) for name, lines in MEMCACHE.items() for line in lines),
    *((AscendLbProxyService.diagnoses, name, line) for name, lines in PROXY.items() for line in lines),
]


@pytest.mark.parametrize(("diagnoses", "name", "line"), EVERY)
def test_the_line_gives_the_failure_away(diagnoses: Sequence[Diagnosis], name: str, line: str) -> None:
    finding = diagnose(["starting", line, "bye"], diagnoses)
    assert finding is not None
    assert (finding.diagnosis.name, finding.line) == (name, line)


def test_every_diagnosis_has_its_line() -> None:
    assert set(ENGINE) == {diagnosis.name for diagnosis in ASCEND}
    assert set(MEMCACHE) == {diagnosis.name for diagnosis in MMC}
    assert set(PROXY) == {diagnosis.name for diagnosis in ASCEND_PROXY}


def test_every_diagnosis_says_what_happened_and_what_to_do() -> None:
    assert all(known.meaning and known.remedy for known in (*ASCEND, *MMC, *ASCEND_PROXY))


def test_that_mooncake_is_only_warned_about_is_not_the_failure() -> None:
    warning = "WARNING 11-21 08:00:00 [mooncake_connector.py:60] Please install mooncake by following"
    assert diagnose([warning], VllmAscendService.diagnoses) is None
