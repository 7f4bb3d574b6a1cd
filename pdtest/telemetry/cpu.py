"""This machine: how busy its processors are, and what they and their memory take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from pdtest.telemetry.meter import Offer, Seen
from pdtest.telemetry.rapl import ROOT, Zone, open_zones

NAME: Final = "cpu"


class CpuMeter:
    """All processors together. Power is what the energy counters rose by since the last reading."""

    def __init__(self, every_s: float, members: tuple[str, ...] = (), powercap: Path = ROOT) -> None:
        self.every_s = every_s
        self._members = members
        self._powercap = powercap
        self._zones: Sequence[Zone] = ()
        self._energy: tuple[float, float] | None = None
        self._times = (0.0, 0.0)

    def open(self) -> Sequence[Offer]:
        """One offer; without counters of energy it says why."""
        self._times = _busy_and_all()
        given, missing = ["utilisation"], {}
        try:
            self._zones = open_zones(self._powercap)
            given += ["power_w", "energy_j"]
        except LookupError as problem:
            missing = dict.fromkeys(("power_w", "energy_j"), str(problem))
        return [
            Offer(
                name=NAME,
                kind="cpu",
                members=self._members,
                every_s=self.every_s,
                quantities=tuple(given),
                missing=missing,
            )
        ]

    def read(self) -> Mapping[str, Seen]:
        """Utilisation and power are those since the last reading."""
        values = dict(self._power())
        busy, whole = _busy_and_all()
        before_busy, before_whole = self._times
        if whole > before_whole:
            # Time is counted in ticks of 10 ms, and some counters may step back by one.
            values["utilisation"] = max(0.0, busy - before_busy) / (whole - before_whole)
            self._times = busy, whole
        return {NAME: Seen(values=values)}

    def close(self) -> None:
        """Let go of the counters."""
        for zone in self._zones:
            zone.close()

    def _power(self) -> Mapping[str, float]:
        if not self._zones:
            return {}
        now_s, joules = time.monotonic(), sum(zone.joules() for zone in self._zones)
        before, self._energy = self._energy, (now_s, joules)
        if before is None or now_s <= before[0]:
            return {"energy_j": joules}
        return {"energy_j": joules, "power_w": (joules - before[1]) / (now_s - before[0])}


def _busy_and_all() -> tuple[float, float]:
    """Processor seconds since boot: at work, and all. Guests are in ``user`` already."""
    times = psutil.cpu_times()
    whole = times.user + times.nice + times.system + times.idle + times.iowait
    whole += times.irq + times.softirq + times.steal
    return whole - times.idle - times.iowait, whole
