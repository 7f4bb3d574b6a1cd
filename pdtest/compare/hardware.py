"""What this machine is, as far as it decides how fast anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from pdtest.cluster.machine import devices as chips
from pdtest.environment.schema import DeviceKind

_PROC: Final = Path("/proc")
_GIB: Final = 1 << 30


def hardware(devices: Mapping[str, str] | None = None, *, proc: Path = _PROC) -> dict[str, Any]:
    """Processor, cores that this process may use, memory, chips.

    ``devices`` as they were asked, by name; None: what the drivers tell in /proc and /dev.
    """
    return {
        "processor": _processor(proc),
        "cores": len(os.sched_getaffinity(0)),
        # What firmware keeps for itself differs from boot to boot.
        "memory_gib": round(psutil.virtual_memory().total / _GIB),
        "devices": dict(_chips(proc)) if devices is None else dict(devices),
    }


def _processor(proc: Path) -> str:
    """Its model, as Linux names it on x86; on Arm the parts that identify it."""
    wanted = ("model name", "CPU implementer", "CPU part")
    found: dict[str, str] = {}
    for line in (proc / "cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in wanted:
            found.setdefault(key.strip(), value.strip())
    return " ".join(found.values()) or "unknown"


def _chips(proc: Path) -> Iterator[tuple[str, str]]:
    """NVIDIA's driver says what each is in ``driver/nvidia/gpus/*/information``, Ascend's only how many."""
    gpus = sorted((proc / "driver" / "nvidia" / "gpus").glob("*/information"))
    for number, file in enumerate(gpus):
        rows = dict(row.split(":", 1) for row in file.read_text(encoding="utf-8").splitlines() if ":" in row)
        yield f"nvidia{number}", rows.get("Model", "unknown").strip()
    for number in chips(DeviceKind.ASCEND):
        yield f"ascend{number}", "Ascend"
