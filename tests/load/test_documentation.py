from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel

from pdtest.environment.arrivals import Arrivals
from pdtest.environment.distributions import Distribution
from pdtest.environment.workload import ClientLimits, Workload

PAGE = (Path(__file__).parents[2] / "docs" / "load.md").read_text(encoding="utf-8")


def kinds(union: object) -> list[type[BaseModel]]:
    return list(get_args(get_args(union)[0]))


def test_the_example_is_a_workload() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    workloads = yaml.safe_load(example)["workloads"]
    assert workloads
    for workload in workloads.values():
        Workload.model_validate(workload)


def test_every_kind_and_key_is_explained() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    for kind in (*kinds(Arrivals), *kinds(Distribution)):
        (row,) = [line for line in rows if line.startswith(f"| `{tag(kind)}` |")]
        for key in kind.model_fields.keys() - {"pattern", "shape"}:
            assert f"`{key}`" in row, kind.__name__
    for key, field in ClientLimits.model_fields.items():
        (value,) = re.findall(rf"^\| `{key}` \| ([\d.]+) \|", PAGE, re.MULTILINE)
        assert float(value) == field.default
    for key in Workload.model_fields:
        assert f"`{key}" in PAGE or f"{key}:" in PAGE


def tag(kind: type[BaseModel]) -> str:
    field = kind.model_fields.get("pattern") or kind.model_fields["shape"]
    return str(get_args(field.annotation)[0])
