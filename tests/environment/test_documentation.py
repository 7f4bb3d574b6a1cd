from __future__ import annotations

import re
from pathlib import Path

from pdtest.environment.loading import load

PAGE = Path(__file__).parents[2] / "docs" / "environments.md"


def test_the_documented_environments_load(tmp_path: Path) -> None:
    whole, inheriting, loads = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "vllm-nixl.yaml").write_text(whole)
    (tmp_path / "mine.yaml").write_text(inheriting)
    described = load(tmp_path / "vllm-nixl.yaml", variables={"MODEL": "/models/small"})
    assert described.members["prefill"].ports == {"http": "auto"}
    assert described.members["decode"].args == {
        "gpu-memory-utilization": 0.8,
        "no-enable-prefix-caching": True,
    }
    derived = load(tmp_path / "mine.yaml", variables={})
    assert derived.model.path == "/models/qwen3-32b"
    assert set(derived.members) == {"prefill", "decode"}
    (tmp_path / "measured.yaml").write_text(f"extends: vllm-nixl.yaml\n{loads}")
    measured = load(tmp_path / "measured.yaml", variables={"MODEL": "/models/small"})
    assert measured.performance.workload in measured.workloads
    assert set(measured.thresholds.performance) == {"goodput_share", "knee_requests_per_s"}
