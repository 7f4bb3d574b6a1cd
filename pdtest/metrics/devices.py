"""What a deployment's size makes of its throughput: per device, and in money."""

from __future__ import annotations

from collections.abc import Iterator

from pdtest.results import Better, Measure

_HOUR_S = 3600.0
_MILLION = 1e6


def device_measures(
    output_tokens_per_s: float | None, *, devices: int, hour_cost: float | None
) -> Iterator[Measure]:
    """``devices``, ``output_tokens_per_s_per_device`` and ``cost_per_million_tokens``.

    ``devices``: of all engines that served; 0: that is not known. ``hour_cost``: of one, in any currency.
    """
    yield Measure(
        name="devices",
        value=float(devices) if devices else None,
        unit="devices",
        why=None if devices else "members name no devices, nor does performance.engine_devices",
    )
    share = output_tokens_per_s / devices if output_tokens_per_s is not None and devices else None
    yield Measure(
        name="output_tokens_per_s_per_device",
        value=share,
        unit="tokens/s",
        better=Better.HIGHER,
        why=None if share is not None else "throughput or the number of devices is not known",
    )
    cost = hour_cost / _HOUR_S / share * _MILLION if hour_cost and share else None
    yield Measure(
        name="cost_per_million_tokens",
        value=cost,
        unit="cost",
        better=Better.LOWER,
        why=None if cost is not None else "performance.device_hour_cost is not given, or nothing was served",
    )
