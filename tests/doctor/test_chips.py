"""Drivers' programs stand in as scripts that print what real ones were seen to print."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdtest.cluster import machine
from pdtest.doctor import chips as doctored
from pdtest.doctor.chips import chips
from pdtest.doctor.finding import State
from pdtest.environment.schema import DeviceKind

from .test_topology import GPUS, NPUS

HEALTHY = "0, NVIDIA H100 80GB HBM3, 570.86.15, 0, 81559"
BUSY = "1, NVIDIA H100 80GB HBM3, 570.86.15, 70000, 81559"
#: npu-smi 24.1 on 910B3.
NPU_TABLE = """\
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 92.6        45                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          3407 / 65536         |
+===========================+===============+====================================================+
| 1     910B3               | Alarm         | 95.4        47                0    / 0             |
| 0                         | 0000:01:00.0  | 0           0    / 0          3405 / 65536         |
+===========================+===============+====================================================+
"""


class Box:
    """A machine with nodes and programs of our making."""

    def __init__(self, directory: Path) -> None:
        self.nodes = directory / "dev"
        self.programs = directory / "bin"
        self.nodes.mkdir()
        self.programs.mkdir()

    def has(self, *nodes: str) -> None:
        for node in nodes:
            (self.nodes / node).touch()

    def program(self, name: str, says: str, topology: str = "", code: int = 0) -> None:
        script = self.programs / name
        table, told = (f"cat <<'E'\n{text}\nE\n" for text in (topology, says))
        script.write_text(f'#!/bin/sh\ncase "$*" in *topo*) {table};; *) {told};; esac\nexit {code}\n')
        script.chmod(0o755)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    made = Box(tmp_path)
    monkeypatch.setattr(doctored, "devices", lambda kind: machine.devices(kind, directory=made.nodes))
    monkeypatch.setenv("PATH", f"{made.programs}:/usr/bin:/bin")
    return made


def states(kind: DeviceKind, *wanted: int) -> list[tuple[str, State]]:
    return [(finding.area, finding.state) for finding in chips(kind, wanted)]


def test_a_machine_without_chips_is_no_finding(box: Box) -> None:
    assert states(DeviceKind.CUDA) == []


def test_gpus_their_driver_and_who_else_uses_them(box: Box) -> None:
    box.has("nvidia0", "nvidia1", "nvidia2", "nvidiactl")
    box.program("nvidia-smi", f"{HEALTHY}\n{BUSY}", GPUS)

    first, second, ways = chips(DeviceKind.CUDA)

    assert first.state is State.FINE
    assert first.fact == "GPU 0: NVIDIA H100 80GB HBM3, driver 570.86.15, 81559 MiB"
    assert second.state is State.NOTE
    assert "70000 of 81559 MiB in use" in second.fact
    assert ways.state is State.NOTE
    assert "0-2 CNS, 1-2 CNS" in ways.fact


def test_only_ways_between_chips_that_are_asked_for_matter(box: Box) -> None:
    box.has("nvidia0", "nvidia1", "nvidia2")
    box.program("nvidia-smi", HEALTHY, GPUS)

    assert states(DeviceKind.CUDA, 0, 1)[-1] == ("p2p", State.FINE)
    assert states(DeviceKind.CUDA, 0, 2)[-1] == ("p2p", State.NOTE)


def test_a_way_to_a_chip_that_nobody_asks_for_is_no_matter(box: Box) -> None:
    box.has("nvidia0", "nvidia1", "nvidia2")
    box.program("nvidia-smi", HEALTHY, "GPU0 GPU1 GPU2\nGPU0 X NS NS\nGPU1 NS X OK\nGPU2 NS OK X")

    assert states(DeviceKind.CUDA, 1, 2)[-1] == ("p2p", State.FINE)
    assert states(DeviceKind.CUDA)[-1] == ("p2p", State.NOTE)


@pytest.mark.parametrize("program", [None, "fails"])
def test_a_chip_without_a_driver_that_answers_is_wrong(box: Box, program: str | None) -> None:
    box.has("nvidia0")
    if program:
        box.program("nvidia-smi", "Failed to initialize NVML: Driver/library version mismatch", code=18)

    (finding,) = chips(DeviceKind.CUDA)

    assert (finding.area, finding.state) == ("driver", State.WRONG)
    assert ("version mismatch" if program else "not on PATH") in finding.fact
    assert finding.remedy


def test_an_npu_that_is_ill(box: Box) -> None:
    box.has("davinci0", "davinci1", "davinci_manager")
    box.program("npu-smi", NPU_TABLE, NPUS)

    well, ill, ways = chips(DeviceKind.ASCEND)

    assert (well.state, well.fact) == (State.FINE, "NPU 0: 910B3, health OK")
    assert (ill.state, ill.fact) == (State.WRONG, "NPU 1: 910B3, health Alarm")
    assert ways.state is State.FINE
