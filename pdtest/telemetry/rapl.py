"""Energy counters of processors, from Linux's powercap (Intel's RAPL; AMD's under the same names).

From Linux's Documentation/power/powercap: a zone's ``energy_uj`` counts up to ``max_energy_range_uj`` and
starts again at 0. Since 5.10 only root may read it (CVE-2020-8694).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/class/powercap")
#: Zones that are no part of another: ``core`` and ``uncore`` are in the package, ``psys`` has it all again.
_PACKAGE: Final = "package"
_DRAM: Final = "dram"


class Zone:
    """One counter, in joules since it was opened."""

    def __init__(self, directory: Path) -> None:
        """Raises OSError where it may not be read."""
        self.name = (directory / "name").read_text().strip()
        self._range_uj = int((directory / "max_energy_range_uj").read_text())
        self._file = os.open(directory / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)
        self._total_uj = 0
        self._last_uj = self._raw_uj()

    def joules(self) -> float:
        """To be asked before it can go round twice: at 500 W that takes minutes."""
        now_uj = self._raw_uj()
        self._total_uj += now_uj - self._last_uj
        if now_uj < self._last_uj:
            self._total_uj += self._range_uj
        self._last_uj = now_uj
        return self._total_uj * 1e-6

    def close(self) -> None:
        """Let go of the file."""
        with suppress(OSError):
            os.close(self._file)

    def _raw_uj(self) -> int:
        return int(os.pread(self._file, 32, 0))


def open_zones(root: Path = ROOT) -> Sequence[Zone]:
    """All packages and their memory, each once. Raises LookupError saying why there are none."""
    # intel-rapl-mmio shows the same packages by another way.
    found = [path for path in sorted(root.glob("intel-rapl:*")) if _counts(path)]
    if not found:
        raise LookupError(
            f"no package under {root}/intel-rapl:*: this kernel shows no counter of the processor"
        )
    try:
        return [Zone(path) for path in found]
    except PermissionError as problem:
        raise LookupError(
            f"{problem.filename} may be read by root only: sudo chmod a+r {root}/intel-rapl:*/energy_uj"
        ) from None
    except (OSError, ValueError) as problem:
        raise LookupError(f"reading {root}: {problem}") from None


def _counts(path: Path) -> bool:
    try:
        name = (path / "name").read_text().strip()
    except OSError:
        return False
    return name.startswith(_PACKAGE) or name == _DRAM
