"""The analysis of a load as one PNG: latency, concurrency, tokens; power, clocks and the like of devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from pdtest.report.account.curve import Points
from pdtest.report.account.files import Files
from pdtest.report.account.load import LoadShown
from pdtest.report.account.loads import measured_of

FILE: Final = "analysis.png"
#: Quantities of telemetry that have a panel where some source told them, with titles.
_PANELS: Final = {
    "power_w": "Power, W",
    "graphics_clock_mhz": "Graphics clock, MHz",
    "memory_clock_mhz": "Memory clock, MHz",
    "utilisation": "Utilisation, %",
    "temperature_c": "Temperature, °C",
    "kv_usage": "KV cache in use, %",
}
_WAITS: Final = {"ttft": "first token", "tbt": "between tokens", "e2e": "whole answer"}
#: Quantities that are shares.
_SHARES: Final = frozenset({"utilisation", "kv_usage"})
_COLUMNS: Final = 3
#: Inches.
_WIDE: Final = 4.6
_HIGH: Final = 2.7

_Draw = Callable[[Any], None]


def analyse_all(run: Path) -> None:
    """Draw what is not drawn yet of a run's loads."""
    for load in measured_of(Files(run)):
        analyse(load, run)


def analyse(load: LoadShown, run: Path) -> Path | None:
    """Draw it beside its result, unless that is done. None where matplotlib is not installed."""
    file = run / load.folder / FILE
    if file.is_file():
        return file
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return None
    panels: list[_Draw] = [
        lambda axes: _latency(axes, load),
        lambda axes: _over_time(axes, load, "Requests under way", {"": load.in_flight}, "steps-post"),
        lambda axes: _over_time(axes, load, "Output tokens per second", {"": load.tokens_per_s}),
        *(_telemetry(load, quantity) for quantity in _PANELS if _told(load, quantity)),
    ]
    rows = -(-len(panels) // _COLUMNS)
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(_WIDE * _COLUMNS, _HIGH * rows))
        for number, draw in enumerate(panels, 1):
            axes = figure.add_subplot(rows, _COLUMNS, number)
            axes.grid(visible=True, linewidth=0.4, alpha=0.5)
            draw(axes)
        # Much faster than a layout engine, and all panels are alike.
        figure.subplots_adjust(
            left=0.035, right=0.99, top=1 - 0.55 / (_HIGH * rows), bottom=0.42 / (_HIGH * rows), hspace=0.42
        )
        figure.suptitle(_title(load), fontsize=9, y=1 - 0.1 / (_HIGH * rows))
        figure.savefig(file, dpi=100)
    return file


def _title(load: LoadShown) -> str:
    invalid = "" if load.client.valid else f"; INVALID: {'; '.join(load.client.reasons)}"
    failed = sum(load.errors.values())
    return f"{load.environment}, {load.label}: {load.requests} requests, {failed} failed{invalid}"


def _latency(axes: Any, load: LoadShown) -> None:
    axes.set_title("Latency: share that took no longer, %")
    for one in load.distributions:
        if one.name in _WAITS:
            at, share = _split(one.points)
            axes.step(at, [100 * each for each in share], where="post", label=_WAITS[one.name], linewidth=1.2)
    if load.distributions:
        axes.set_xscale("log")
        axes.legend(frameon=False, loc="lower right")
    axes.set_xlabel("s")


def _over_time(
    axes: Any, load: LoadShown, title: str, curves: dict[str, Points], drawstyle: str = "default"
) -> None:
    axes.set_title(title)
    for name, points in curves.items():
        axes.plot(*_split(points), label=name, linewidth=1, drawstyle=drawstyle)
    if load.steady_s is not None:
        axes.axvspan(*load.steady_s, alpha=0.07, linewidth=0)
    if len(curves) > 1:
        axes.legend(frameon=False, ncols=2, loc="lower right")
    axes.set_xlim(0, load.lasted_s or 1)
    axes.set_xlabel("s")


def _telemetry(load: LoadShown, quantity: str) -> _Draw:
    factor = 100 if quantity in _SHARES else 1
    curves = {
        name: tuple((at, factor * value) for at, value in points)
        for name, points in _told(load, quantity).items()
    }
    return lambda axes: _over_time(axes, load, _PANELS[quantity], curves)


def _told(load: LoadShown, quantity: str) -> dict[str, Points]:
    """By source."""
    return {
        monitor.name: one.points
        for monitor in load.monitors
        for one in monitor.quantities
        if one.name == quantity
    }


def _split(points: Points) -> tuple[Sequence[float], Sequence[float]]:
    return [at for at, _ in points], [value for _, value in points]
