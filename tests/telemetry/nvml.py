"""A stand-in for libnvidia-ml.so, beneath the real binding: what pynvml calls in C are functions here.

It shows that the binding is called as it wants to be and that what it gives is read well; that a real driver
answers like this it cannot show. Arguments are what pynvml passes: ctypes values and pointers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pynvml

OK = 0
NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
_UNSIGNED_INT, _UNSIGNED_LONG_LONG = 1, 3


@dataclass
class Gpu:
    """``average_mw``: what is told by default; None of the others: this GPU has no such thing."""

    instant_mw: int | None = 412_500
    average_mw: int | None = 398_000
    energy_mj: int | None = 7_000_000_000
    clocks: dict[int, int] = field(default_factory=lambda: {0: 1980, 2: 2619})
    busy: int = 87
    temperature: int = 64
    reasons: int = 0
    lost: bool = False


@dataclass
class Library:
    """Functions by their C names, which is how the binding looks for them."""

    gpus: list[Gpu]
    initialised: bool = False

    def __getattr__(self, name: str) -> Callable[..., int]:
        call = _CALLS.get(name)
        if call is None:
            raise AttributeError(name)
        return lambda *arguments: call(self, *arguments)


def _gpu(library: Library, handle: Any) -> Gpu:
    return library.gpus[_number(handle) - 1]


def _number(handle: Any) -> int:
    """A handle is a pointer that only the library follows."""
    return int(ctypes.cast(handle, ctypes.c_void_p).value or 0)


def _init(library: Library, _flags: Any) -> int:
    library.initialised = True
    return OK


def _shutdown(library: Library) -> int:
    library.initialised = False
    return OK


def _handle(library: Library, index: Any, out: Any) -> int:
    if index.value >= len(library.gpus):
        return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    ctypes.cast(ctypes.pointer(out._obj), ctypes.POINTER(ctypes.c_void_p))[0] = index.value + 1
    return OK


def _fields(library: Library, handle: Any, count: Any, out: Any) -> int:
    gpu = _gpu(library, handle)
    if gpu.lost:
        return int(pynvml.NVML_ERROR_GPU_IS_LOST)
    told = {
        pynvml.NVML_FI_DEV_POWER_INSTANT: (gpu.instant_mw, _UNSIGNED_INT, "uiVal"),
        pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION: (gpu.energy_mj, _UNSIGNED_LONG_LONG, "ullVal"),
    }
    for place in range(count.value):
        one = out._obj[place]
        value, kind, member = told[one.fieldId]
        one.nvmlReturn = NOT_SUPPORTED if value is None else OK
        one.valueType = kind
        setattr(one.value, member, value or 0)
    return OK


def _tell(of: Callable[[Gpu], int | None]) -> Callable[[Library, Any, Any], int]:
    def call(library: Library, handle: Any, out: Any) -> int:
        value = of(_gpu(library, handle))
        if _gpu(library, handle).lost:
            return int(pynvml.NVML_ERROR_GPU_IS_LOST)
        if value is None:
            return int(NOT_SUPPORTED)
        out._obj.value = value
        return OK

    return call


def _clock(library: Library, handle: Any, which: Any, out: Any) -> int:
    return _tell(lambda gpu: gpu.clocks.get(which.value))(library, handle, out)


def _temperature(library: Library, handle: Any, _sensor: Any, out: Any) -> int:
    return _tell(lambda gpu: gpu.temperature)(library, handle, out)


def _utilisation(library: Library, handle: Any, out: Any) -> int:
    out._obj.gpu = _gpu(library, handle).busy
    return OK


_CALLS: dict[str, Callable[..., int]] = {
    "nvmlInitWithFlags": _init,
    "nvmlShutdown": _shutdown,
    "nvmlDeviceGetHandleByIndex_v2": _handle,
    "nvmlDeviceGetFieldValues": _fields,
    "nvmlDeviceGetPowerUsage": _tell(lambda gpu: gpu.average_mw),
    "nvmlDeviceGetClockInfo": _clock,
    "nvmlDeviceGetUtilizationRates": _utilisation,
    "nvmlDeviceGetTemperature": _temperature,
    "nvmlDeviceGetCurrentClocksThrottleReasons": _tell(lambda gpu: gpu.reasons),
}
