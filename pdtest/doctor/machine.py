"""Memory and disks of this machine, and what runs hold of it."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from pdtest.doctor.finding import Finding, fine, note, wrong
from pdtest.launch.claims import default_directory
from pdtest.launch.devices import remedy
from pdtest.launch.held import held
from pdtest.launch.lease import introduced

_GIB: Final = 1 << 30
#: A run's logs and reports take tens of MiB; the models that pdtest makes, ten.
_DISK_GIB: Final = 1.0
#: Containers have 64 MiB unless told otherwise (docker run --shm-size); NCCL takes that much for a few ranks.
_SHM_GIB: Final = 1.0
_SHM: Final = Path("/dev/shm")  # noqa: S108 - shared memory is there
#: Pages of programs that run already; below this the kernel ends processes.
_MEMORY_GIB: Final = 0.5


def memory() -> Iterator[Finding]:
    """What is free of it now."""
    seen = psutil.virtual_memory()
    free, size = seen.available / _GIB, seen.total / _GIB
    fact = f"{free:.1f} of {size:.1f} GiB are available"
    if free < _MEMORY_GIB:
        yield wrong("memory", fact, "see who has it: ps aux --sort -rss; and pdtest ps for what stands")
    else:
        yield fine("memory", fact)


def disks(home: Path) -> Iterator[Finding]:
    """Where runs are written, where temporary files are, and shared memory. ``home``: where runs are kept."""
    nearest = next(place for place in (home, *home.parents) if place.exists())
    places = dict.fromkeys((nearest, Path(tempfile.gettempdir())))
    for place in places:
        yield _room(
            place, _DISK_GIB, "remove runs you do not need (.pdtest/runs), or use another --pdtest-dir"
        )
    if _SHM.is_dir():
        yield _room(_SHM, _SHM_GIB, "start the container with --shm-size or --ipc=host: vLLM and NCCL use it")


def leases(directory: Path | None = None) -> Iterator[Finding]:
    """The ports and devices that runs hold now, by run."""
    place = directory or default_directory()
    holders = held(place)
    claims: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name, holder in holders.items():
        claims[str(holder.get("owner")), int(holder["pid"])].append(name)
    for names in claims.values():
        oldest = max((holders[name] for name in names), key=lambda holder: float(holder["age_s"]))
        devices = [name for name in names if not name.isdigit()]
        ports = [name for name in names if name.isdigit()]
        told = [*devices, *([f"port {', '.join(ports)}"] if ports else [])]
        yield note(
            "leases",
            f"{'; '.join(told)}: held by {introduced(dict(oldest))}",
            remedy(oldest)
            if "left" in oldest
            else "nothing, unless you need them: pdtest ps shows what stands, pdtest down ends it",
        )
    if not claims:
        yield fine("leases", f"nobody holds a port or a device ({place})")


def _room(place: Path, wanted: float, remedy: str) -> Finding:
    free = shutil.disk_usage(place).free / _GIB
    fact = f"{place}: {free:.1f} GiB are free"
    return fine("disk", fact) if free >= wanted else note("disk", f"{fact}, less than {wanted:g}", remedy)
