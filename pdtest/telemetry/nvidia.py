"""NVIDIA GPUs, through the driver's management library (NVML).

From NVML's reference (nvmlDeviceGetPowerUsage, nvmlDeviceGetTotalEnergyConsumption): from Ampere on, except
GA100, the power that is told by default is the mean of the last second; the field NVML_FI_DEV_POWER_INSTANT
is not. Energy is counted in mJ since the driver was loaded, from Volta on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pdtest.telemetry.meter import ALL, Offer, Seen, share
from pdtest.telemetry.settings import Chip

_POWER: Final = "power_w"
_ENERGY: Final = "energy_j"
_MILLI: Final = 1e-3
#: Bits of nvmlClocksEventReasons that hold the clocks down, besides being idle and what a user has set.
_REASONS: Final[Mapping[str, int]] = {
    "throttled_power": 0x4 | 0x80,  # software power cap, power brake
    "throttled_thermal": 0x20 | 0x40,  # software and hardware thermal slowdown
    "throttled_other": 0x8 | 0x10,  # hardware slowdown (its cause is beside it where known), sync boost
}
_AVERAGED: Final = "this driver only tells the mean of the last second, which is what power_w is here"

#: Members of nvmlValue_t in the order of nvmlValueType_t.
_UNION: Final = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")

Read = Callable[[], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class _Gpu:
    """What of it can be read, found out once."""

    offer: Offer
    reads: tuple[tuple[tuple[str, ...], Read], ...]


class NvidiaMeter:
    """All GPUs that members run on."""

    def __init__(self, chips: Sequence[Chip], every_s: float) -> None:
        self.every_s = every_s
        self._chips = tuple(chips)
        self._nvml: Any = None
        self._gpus: tuple[_Gpu, ...] = ()

    def open(self) -> Sequence[Offer]:
        """One offer for each chip; without library, driver or chip it says which."""
        try:
            self._nvml = _library()
        except Exception as problem:  # noqa: BLE001 - import errors, and whatever the driver says
            return [self._absent(chip, _reason_of(problem)) for chip in self._chips]
        self._gpus = tuple(self._open(chip) for chip in self._chips)
        return [gpu.offer for gpu in self._gpus]

    def read(self) -> Mapping[str, Seen]:
        """All GPUs, one after the other: some 0.2 ms each."""
        return {gpu.offer.name: self._read(gpu) for gpu in self._gpus if gpu.offer.readable}

    def close(self) -> None:
        """Let go of the driver."""
        if self._nvml is not None:
            with suppress(Exception):
                self._nvml.nvmlShutdown()

    def _open(self, chip: Chip) -> _Gpu:
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(chip.number)
        except self._nvml.NVMLError as problem:
            return _Gpu(offer=self._absent(chip, f"NVML, GPU {chip.number}: {problem}"), reads=())
        reads: list[tuple[tuple[str, ...], Read]] = []
        missing: dict[str, str] = {}
        for quantities, read in _ways(self._nvml, handle):
            try:
                values = read()
            except self._nvml.NVMLError as problem:
                missing |= dict.fromkeys(quantities, f"NVML: {problem}")
                continue
            reads.append((quantities, read))
            missing |= {
                name: "NVML does not tell it of this GPU" for name in quantities if name not in values
            }
        if _POWER in missing:
            self._average_power(handle, reads, missing)
        given = tuple(name for quantities, _ in reads for name in quantities if name not in missing)
        offer = Offer(
            name=chip.name,
            kind="nvidia",
            members=chip.members,
            every_s=self.every_s,
            quantities=given,
            missing=missing,
        )
        return _Gpu(offer=offer, reads=tuple(reads))

    def _average_power(
        self, handle: Any, reads: list[tuple[tuple[str, ...], Read]], missing: dict[str, str]
    ) -> None:
        """Where there is no instant power the mean is taken, and told to be that."""

        def read() -> Mapping[str, float]:
            return {_POWER: self._nvml.nvmlDeviceGetPowerUsage(handle) * _MILLI}

        try:
            read()
        except self._nvml.NVMLError as problem:
            missing[_POWER] = f"NVML: {problem}"
            return
        reads.append(((_POWER,), read))
        del missing[_POWER]
        missing["instant_power"] = _AVERAGED

    def _read(self, gpu: _Gpu) -> Seen:
        values: dict[str, float] = {}
        missing: dict[str, str] = {}
        for quantities, read in gpu.reads:
            try:
                values |= read()
            except self._nvml.NVMLError as problem:
                missing |= dict.fromkeys(quantities, f"NVML: {problem}")
        return Seen(values=values, missing=missing)

    def _absent(self, chip: Chip, reason: str) -> Offer:
        return Offer(
            name=chip.name,
            kind="nvidia",
            members=chip.members,
            every_s=self.every_s,
            missing={ALL: reason},
        )


def _library() -> Any:
    """NVML, ready. Raises ImportError, and NVMLError without a driver."""
    import pynvml

    pynvml.nvmlInit()
    return pynvml


def _reason_of(problem: Exception) -> str:
    if isinstance(problem, ImportError):
        return "reading GPUs needs the package nvidia-ml-py: pip install 'pdtest[nvidia]'"
    return f"NVML: {problem}"


def _ways(nvml: Any, handle: Any) -> Sequence[tuple[tuple[str, ...], Read]]:
    """The calls that are made, with what each gives. One that fails costs only its own quantities."""

    def fields() -> Mapping[str, float]:
        wanted = {nvml.NVML_FI_DEV_POWER_INSTANT: _POWER, nvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION: _ENERGY}
        told = nvml.nvmlDeviceGetFieldValues(handle, list(wanted))
        return {
            wanted[field.fieldId]: _number(field) * _MILLI
            for field in told
            if field.nvmlReturn == nvml.NVML_SUCCESS
        }

    def reasons() -> Mapping[str, float]:
        mask = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        return {name: float(bool(mask & bits)) for name, bits in _REASONS.items()}

    def utilisation() -> Mapping[str, float]:
        return {"utilisation": share(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)}

    def clock(name: str, which: int) -> tuple[tuple[str, ...], Read]:
        return (name,), lambda: {name: float(nvml.nvmlDeviceGetClockInfo(handle, which))}

    def temperature() -> Mapping[str, float]:
        return {"temperature_c": float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))}

    return (
        ((_POWER, _ENERGY), fields),
        clock("graphics_clock_mhz", nvml.NVML_CLOCK_GRAPHICS),
        clock("memory_clock_mhz", nvml.NVML_CLOCK_MEM),
        (("utilisation",), utilisation),
        (("temperature_c",), temperature),
        (tuple(_REASONS), reasons),
    )


def _number(field: Any) -> float:
    """A field's value, of whichever of the C union's members it says it is."""
    return float(getattr(field.value, _UNION[field.valueType]))
