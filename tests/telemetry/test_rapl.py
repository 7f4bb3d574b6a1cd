from __future__ import annotations

import os
from pathlib import Path

import pytest

from pdtest.telemetry.cpu import CpuMeter
from pdtest.telemetry.rapl import open_zones

RANGE_UJ = 262_143_328_850


def zone(root: Path, name: str, what: str, energy_uj: int) -> Path:
    directory = root / name
    directory.mkdir(parents=True)
    (directory / "name").write_text(f"{what}\n")
    (directory / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    counter = directory / "energy_uj"
    counter.write_text(f"{energy_uj}\n")
    return counter


def test_packages_and_their_memory_count_and_nothing_twice(tmp_path: Path) -> None:
    counters = [
        zone(tmp_path, "intel-rapl:0", "package-0", 10_000_000),
        zone(tmp_path, "intel-rapl:0:0", "core", 0),
        zone(tmp_path, "intel-rapl:0:1", "dram", 0),
        zone(tmp_path, "intel-rapl:1", "package-1", 0),
        zone(tmp_path, "intel-rapl:2", "psys", 0),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
    ]
    zones = open_zones(tmp_path)
    assert sorted(one.name for one in zones) == ["dram", "package-0", "package-1"]
    for counter in counters:
        counter.write_text(f"{int(counter.read_text()) + 1_000_000}\n")
    assert sum(one.joules() for one in zones) == pytest.approx(3.0)
    for one in zones:
        one.close()


def test_a_counter_that_goes_round_goes_on(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 2_000_000)
    (package,) = open_zones(tmp_path)
    assert package.joules() == 0.0
    counter.write_text("1000000\n")
    assert package.joules() == pytest.approx(3.0)
    counter.write_text(f"{RANGE_UJ}\n")
    package.joules()
    counter.write_text("5\n")
    assert package.joules() == pytest.approx(2.0 + RANGE_UJ * 1e-6, rel=1e-9)
    package.close()


def test_without_counters_there_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="this kernel shows no counter"):
        open_zones(tmp_path)


def test_without_permission_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0)

    def forbidden(path: Path, flags: int) -> int:  # who runs the tests may be root
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", forbidden)
    with pytest.raises(LookupError, match=r"energy_uj may be read by root only: sudo chmod a\+r"):
        open_zones(tmp_path)


def test_the_machine_tells_power_since_the_last_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    times = iter([10.0, 10.5])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    meter = CpuMeter(0.1, powercap=tmp_path)
    (offer,) = meter.open()
    assert set(offer.quantities) == {"utilisation", "power_w", "energy_j"}
    assert meter.read()["cpu"].values["energy_j"] == 0.0
    counter.write_text("60000000\n")
    values = meter.read()["cpu"].values
    assert (values["energy_j"], values["power_w"]) == (60.0, 120.0)
    meter.close()


def test_without_counters_the_machine_still_tells_how_busy_it_is(tmp_path: Path) -> None:
    meter = CpuMeter(0.1, powercap=tmp_path)
    (offer,) = meter.open()
    assert set(offer.missing) == {"power_w", "energy_j"}
    assert offer.readable
    busy = 0.0
    for _ in range(1000):
        busy = max(busy, meter.read()["cpu"].values.get("utilisation", 0.0))
    assert 0.0 < busy <= 1.0, "this loop itself keeps a core busy"
