from __future__ import annotations

import sys
from collections.abc import Callable

import pynvml
import pytest

from pdtest.telemetry.nvidia import NvidiaMeter
from pdtest.telemetry.settings import Chip
from tests.telemetry.nvml import Gpu, Library

Driver = Callable[..., Library]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    def install(*gpus: Gpu) -> Library:
        library = Library(list(gpus))
        monkeypatch.setattr(pynvml, "nvmlLib", library)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        return library

    return install


def meter(*numbers: int) -> NvidiaMeter:
    return NvidiaMeter([Chip(kind="nvidia", number=number, members=("decode",)) for number in numbers], 0.1)


def test_all_that_a_gpu_tells_in_our_units(driver: Driver) -> None:
    library = driver(Gpu(), Gpu(instant_mw=90_250, energy_mj=5, reasons=0x4 | 0x1))
    one = meter(0, 1)
    assert [(offer.name, offer.members, offer.missing) for offer in one.open()] == [
        ("nvidia0", ("decode",), {}),
        ("nvidia1", ("decode",), {}),
    ]
    assert library.initialised
    read = one.read()
    assert read["nvidia0"].values == {
        "power_w": 412.5,  # instant, not the mean of 398 W
        "energy_j": 7_000_000.0,
        "graphics_clock_mhz": 1980.0,
        "memory_clock_mhz": 2619.0,
        "utilisation": 0.87,
        "temperature_c": 64.0,
        "throttled_power": 0.0,
        "throttled_thermal": 0.0,
        "throttled_other": 0.0,
    }
    assert read["nvidia1"].values["power_w"] == 90.25
    assert read["nvidia1"].values["energy_j"] == 0.005
    one.close()
    assert not library.initialised


@pytest.mark.parametrize(
    ("mask", "name"),
    [
        (0x4, "throttled_power"),
        (0x80, "throttled_power"),
        (0x20, "throttled_thermal"),
        (0x40, "throttled_thermal"),
        (0x8, "throttled_other"),
    ],
)
def test_what_holds_the_clocks_down(driver: Driver, mask: int, name: str) -> None:
    driver(Gpu(reasons=mask))
    one = meter(0)
    one.open()
    values = one.read()["nvidia0"].values
    assert {key for key, value in values.items() if key.startswith("throttled") and value} == {name}


@pytest.mark.parametrize("mask", [0x1, 0x2, 0x100])
def test_being_idle_or_set_to_a_clock_is_no_throttling(driver: Driver, mask: int) -> None:
    driver(Gpu(reasons=mask))
    one = meter(0)
    one.open()
    assert not any(
        value for name, value in one.read()["nvidia0"].values.items() if name.startswith("throttled")
    )


def test_the_mean_of_a_second_is_told_to_be_one(driver: Driver) -> None:
    driver(Gpu(instant_mw=None))
    one = meter(0)
    (offer,) = one.open()
    assert "mean of the last second" in offer.missing["instant_power"]
    assert one.read()["nvidia0"].values["power_w"] == 398.0
    assert one.read()["nvidia0"].values["energy_j"] == 7_000_000.0


def test_what_a_gpu_does_not_have_is_missing_not_zero(driver: Driver) -> None:
    driver(Gpu(instant_mw=None, average_mw=None, energy_mj=None, clocks={0: 1410}))
    one = meter(0)
    (offer,) = one.open()
    assert set(offer.missing) == {"power_w", "energy_j", "memory_clock_mhz"}
    assert "Not Supported" in offer.missing["memory_clock_mhz"]
    assert not {"power_w", "energy_j", "memory_clock_mhz"} & one.read()["nvidia0"].values.keys()
    assert not {"power_w", "energy_j", "memory_clock_mhz"} & set(offer.quantities)


def test_a_gpu_that_is_lost_says_so_and_the_others_go_on(driver: Driver) -> None:
    library = driver(Gpu(), Gpu())
    one = meter(0, 1)
    one.open()
    library.gpus[0].lost = True
    read = one.read()
    assert "power_w" not in read["nvidia0"].values
    assert "GPU is lost" in read["nvidia0"].missing["power_w"]
    assert read["nvidia1"].values["power_w"] == 412.5


def test_a_number_that_is_not_there_is_named(driver: Driver) -> None:
    driver(Gpu())
    here, absent = meter(0, 3).open()
    assert here.readable
    assert absent.missing["*"].startswith("NVML, GPU 3: ")


def test_without_a_driver_that_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    (offer,) = meter(0).open()
    assert offer.missing == {"*": "NVML: NVML Shared Library Not Found"}


def test_without_the_package_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    (offer,) = meter(0).open()
    assert "pip install 'pdtest[nvidia]'" in offer.missing["*"]
