"""What one device, host or member told of itself while a load ran."""

from __future__ import annotations

from pydantic import Field

from pdtest.results.frozen import Frozen


class Reading(Frozen):
    """``at_s``: seconds of the load's clock. ``values``: by quantity; what did not come is left out."""

    at_s: float
    values: dict[str, float]


class Monitor(Frozen):
    """Readings of one source over time.

    ``kind``: ``nvidia``, ``ascend``, ``cpu``, ``member``. ``name``: the device or member, ``nvidia0``,
    ``prefill``. ``members``: those that ran on it.
    ``units`` by quantity: ``power_w`` is ``W``, ``energy_j`` ``J`` (a counter), ``graphics_clock_mhz``
    ``MHz``, ``memory_clock_mhz``, ``utilisation`` ``1``, ``temperature_c``, ``kv_usage`` ``1``,
    ``running`` and ``waiting`` requests.
    ``missing``: quantities that were wanted and could not be had, with the reason; with ``"*"`` the whole
    source could not.
    ``every_s`` is what was asked for, ``true_every_s`` the mean distance of the readings that came.
    ``cost_cpu_share``: of one core, of the process that looked.
    """

    kind: str
    name: str
    members: tuple[str, ...] = ()
    every_s: float
    true_every_s: float | None
    cost_cpu_share: float | None = None
    units: dict[str, str]
    readings: tuple[Reading, ...]
    missing: dict[str, str] = Field(default_factory=dict)
