from __future__ import annotations

import pytest
import yaml

from pdtest.cluster.diagnosis import Finding, diagnose
from pdtest.services.vllm import VllmService
from pdtest.services.vllm_diagnoses import VLLM

from .conftest import SAMPLES

#: Logs of vLLM 0.32 that did not come up, shortened; its last line is mostly that initialization failed.
LOGS = {
    "port-taken": ("port in use", "[Errno 98]"),
    "side-channel-taken": ("side-channel port taken", "ZMQError"),
    "model-absent": ("model path missing", "'/nonexistent/model'"),
    "model-not-cached": ("model not in the cache", "LocalEntryNotFoundError"),
    "model-length": ("model length too long", "max_model_len (999999)"),
    "block-size": ("unsupported block size", "No common block size for 16"),
    "kv-cache-too-large": ("KV cache too large", "kv (500.0 GiB)"),
    "unknown-connector": ("unknown connector", "NixlConnectr"),
    "unknown-flag": ("unknown argument", "--max-modle-len"),
    "nixl-absent": ("NIXL missing", "NIXL is not available"),
    "mooncake-absent": ("Mooncake missing", "Mooncake is not available"),
    "ucx-no-transport": ("NIXL backend failed", "NIXL_ERR_BACKEND"),
}
#: Further lines, from logs and from the sources that print them.
LINES: dict[str, list[str]] = yaml.safe_load((SAMPLES / "vllm-lines.yaml").read_text(encoding="utf-8"))


def found_in(sample: str) -> Finding | None:
    lines = (SAMPLES / f"{sample}.log").read_text(encoding="utf-8").splitlines()
    return diagnose(lines, VllmService.diagnoses)


@pytest.mark.parametrize("sample", LOGS)
def test_a_real_log_names_the_failure_behind_it(sample: str) -> None:
    finding = found_in(sample)
    assert finding is not None
    name, line = LOGS[sample]
    assert finding.diagnosis.name == name
    assert line in finding.line


@pytest.mark.parametrize("sample", ["healthy", "ending"])
def test_a_healthy_log_has_no_failure_behind_it(sample: str) -> None:
    assert found_in(sample) is None


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, lines in LINES.items() for line in lines])
def test_the_line_gives_the_failure_away(name: str, line: str) -> None:
    finding = diagnose(
        [f"(EngineCore pid=1) ERROR 11-21 01:28:25 [core.py:1510] {line}"], VllmService.diagnoses
    )
    assert finding is not None
    assert finding.diagnosis.name == name


def test_every_diagnosis_has_its_log_or_line() -> None:
    assert {diagnosis.name for diagnosis in VLLM} <= {name for name, _ in LOGS.values()} | set(LINES)


@pytest.mark.parametrize("line", ["NIXL is not available", "Mooncake is not available"])
def test_a_library_that_is_only_warned_about_is_not_the_failure(line: str) -> None:
    warning = f"(APIServer pid=1) WARNING 11-21 01:28:34 [nixl_utils.py:62] {line}"
    assert diagnose([warning], VllmService.diagnoses) is None


def test_every_diagnosis_says_what_happened_and_what_to_do() -> None:
    assert all(diagnosis.meaning and diagnosis.remedy for diagnosis in VLLM)
