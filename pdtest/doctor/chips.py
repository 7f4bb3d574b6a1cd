"""GPUs and NPUs of this machine, as their drivers tell."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from pdtest.cluster.machine import NODES, devices
from pdtest.doctor.finding import Finding, fine, note, wrong
from pdtest.doctor.topology import ways
from pdtest.environment.schema import DeviceKind
from pdtest.telemetry.npu_smi import chip_rows

_ANSWER_S: Final = 30.0
_GPUS: Final = (
    "nvidia-smi",
    "--query-gpu=index,name,driver_version,memory.used,memory.total",
    "--format=csv,noheader,nounits",
)
_NPUS: Final = ("npu-smi", "info")
_TOPOLOGY: Final[Mapping[DeviceKind, tuple[str, ...]]] = {
    DeviceKind.CUDA: ("nvidia-smi", "topo", "-p2p", "r"),
    DeviceKind.ASCEND: ("npu-smi", "info", "-t", "topo"),
}
#: Cells of a way on which KV goes through the host's memory.
_INDIRECT: Final[Mapping[DeviceKind, Callable[[str], bool]]] = {
    DeviceKind.CUDA: lambda cell: cell != "OK",
    DeviceKind.ASCEND: lambda cell: cell in {"NA", "SYS", "PHB"},
}
_SLOWER: Final[Mapping[DeviceKind, str]] = {
    DeviceKind.CUDA: "KV goes through the host's memory there: give prefill and decode GPUs of one NVLink or "
    "PCIe switch (nvidia-smi topo -m), or switch ACS off for the bridge between",
    DeviceKind.ASCEND: "give prefill and decode NPUs that HCCS connects (npu-smi info -t topo)",
}
#: More of its memory in use, and an engine may find too little.
_BUSY: Final = 0.1


class Mute(Exception):
    """A driver's program is absent, fails, or hangs."""


def chips(kind: DeviceKind, wanted: Collection[int] = ()) -> Iterator[Finding]:
    """Those of a kind, if there are any; ways between ``wanted`` alone, where some are.

    Where they are absent and asked for, the environment's requirements say so.
    """
    present = devices(kind)
    if not present:
        return
    try:
        yield from _READERS[kind]()
    except Mute as error:
        node = f"/dev/{NODES[kind]}"
        yield wrong(
            "driver",
            f"there is {node}{present[0]}, and its driver does not answer: {error}",
            "install the driver's tools, see dmesg, and restart the machine after an update of the driver",
        )
        return
    looked_at = [chip for chip in present if not wanted or chip in wanted]
    if len(looked_at) > 1:
        yield from _ways(kind, looked_at)


def _gpus() -> Iterator[Finding]:
    for line in _told(_GPUS).splitlines():
        index, name, driver, used, size = (cell.strip() for cell in line.split(","))
        fact = f"GPU {index}: {name}, driver {driver}"
        if not (used.isdigit() and size.isdigit()):  # [N/A] where memory is the host's
            yield fine("chips", fact)
        elif int(used) > _BUSY * int(size):
            yield note("chips", f"{fact}, {used} of {size} MiB in use", "see who uses it: nvidia-smi")
        else:
            yield fine("chips", f"{fact}, {size} MiB")


def _npus() -> Iterator[Finding]:
    try:
        rows = chip_rows(_told(_NPUS))
    except LookupError as error:
        raise Mute(str(error)) from None
    for row in rows:
        fact = f"NPU {row.number}: {row.name}, health {row.health}"
        if row.health != "OK":
            remedy = f"npu-smi info -t health -i {row.card}; restart it, or give members other NPUs"
            yield wrong("chips", fact, remedy)
        elif (row.memory_usage or 0.0) > _BUSY:
            in_use = f"{fact}, {row.memory_usage:.0%} of its memory in use"
            yield note("chips", in_use, "see who uses it: npu-smi info")
        else:
            yield fine("chips", fact)


def _ways(kind: DeviceKind, looked_at: Collection[int]) -> Iterator[Finding]:
    command = " ".join(_TOPOLOGY[kind])
    try:
        table = ways(_told(_TOPOLOGY[kind]))
    except Mute as error:
        yield note("p2p", f"{command} does not tell: {error}", "run it by hand")
        return
    pairs = {
        pair: cell
        for pair, cell in table.items()
        if pair[0] < pair[1] and pair[0] in looked_at and pair[1] in looked_at
    }
    apart = {pair: cell for pair, cell in pairs.items() if _INDIRECT[kind](cell)}
    if apart:
        told = ", ".join(f"{one}-{other} {cell}" for (one, other), cell in apart.items())
        yield note("p2p", f"no direct way between {told} ({command})", _SLOWER[kind])
    elif pairs:
        yield fine("p2p", f"{', '.join(map(str, looked_at))} reach each other directly")
    else:
        yield note(
            "p2p", f"{command} shows no ways between {', '.join(map(str, looked_at))}", "run it by hand"
        )


def _told(argv: tuple[str, ...]) -> str:
    """What a program prints. Raises Mute."""
    if shutil.which(argv[0]) is None:
        raise Mute(f"{argv[0]} is not on PATH")
    try:
        done = subprocess.run(  # noqa: S603 - the names are above
            argv, capture_output=True, text=True, check=False, timeout=_ANSWER_S
        )
    except subprocess.TimeoutExpired:
        raise Mute(f"{argv[0]} says nothing for {_ANSWER_S:g} s") from None
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split())
        raise Mute(f"{argv[0]} ends with {done.returncode}: {said[:200]}")
    return done.stdout


_READERS: Final[Mapping[DeviceKind, Callable[[], Iterator[Finding]]]] = {
    DeviceKind.CUDA: _gpus,
    DeviceKind.ASCEND: _npus,
}
