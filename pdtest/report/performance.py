"""Loads, for the terminal: sides beside each other, steps of a sweep below each other. 80 columns."""

from __future__ import annotations

import io
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

from pdtest.compare import Comparison
from pdtest.metrics.knee import Knee
from pdtest.oracle.claims import ratio
from pdtest.results import Result
from pdtest.results.amount import digits, entry

#: Columns of a table: it is read in CI logs and pasted into tickets.
WIDTH: Final = 80
#: What is shown of a load, in this order, where it was measured.
SHOWN: Final = (
    "success_rate",
    "goodput_share",
    "goodput",
    "requests_per_s",
    "output_tokens_per_s",
    "output_tokens_per_s_steady",
    "ttft_mean",
    "ttft_p50",
    "ttft_p90",
    "ttft_p99",
    "tbt_mean",
    "tbt_p50",
    "tbt_p90",
    "tbt_p99",
    "tpot_mean",
    "e2e_mean",
    "e2e_p50",
    "e2e_p90",
    "phase_queue_mean",
    "phase_prefill_mean",
    "phase_transfer_mean",
    "phase_decode_mean",
    "kv_transfer_success_rate",
    "kv_transfer_bytes_mean",
    "kv_transfer_time_mean",
    "energy",
    "power_mean",
    "energy_per_token",
    "tokens_per_joule",
    "energy_per_request",
    "devices",
    "output_tokens_per_s_per_device",
    "cost_per_million_tokens",
)
#: Columns of a sweep: heading, measure, and what its values are multiplied by.
_STEPS: Final = {
    "ok %": ("success_rate", 100.0),
    "good %": ("goodput_share", 100.0),
    "req/s": ("requests_per_s", 1.0),
    "tok/s": ("output_tokens_per_s", 1.0),
    "TTFT ms": ("ttft_mean", 1e3),
    "TBT ms": ("tbt_mean", 1e3),
    "e2e ms": ("e2e_mean", 1e3),
    "J/tok": ("energy_per_token", 1.0),
}


def side_by_side(sides: Mapping[str, Sequence[Result]], comparison: Comparison | None) -> str:
    """Medians over the valid runs of each side, and the second over the first with its interval."""
    shown = _table("median of runs", *sides, *([_over(comparison)] if comparison else []))
    changes = {change.measure: change for change in comparison.changes} if comparison else {}
    valid = {name: [one for one in results if one.client.valid] for name, results in sides.items()}
    for name in SHOWN:
        cells = [_median(results, name) for results in valid.values()]
        if not any(cells):
            continue
        told = ratio(changes[name]) if name in changes else None
        over = f"{told[0]:.2f} ({told[1]:.2f} to {told[2]:.2f})" if told else ""
        shown.add_row(name, *(cell or "-" for cell in cells), *([over] if comparison else []))
    runs = [f"{name}: {_runs(results)}" for name, results in sides.items()]
    return _text(_headline(sides), shown, "runs: " + ", ".join(runs), *_notes(sides))


def steps(title: str, of: str, rows: Sequence[tuple[str, Sequence[Result]]]) -> str:
    """A row for each step of a sweep: medians over its valid runs."""
    measured = {
        heading: column
        for heading, column in _STEPS.items()
        if any(_middle(results, column[0]) is not None for _, results in rows)
    }
    shown = _table(of, *measured)
    for step, results in rows:
        valid = [one for one in results if one.client.valid]
        values = [(_middle(valid, name), factor) for name, factor in measured.values()]
        cells = ["-" if value is None else digits(value * factor) for value, factor in values]
        shown.add_row(step if valid else f"{step} INVALID", *cells)
    return _text(title, shown, *_notes(dict(rows)))


def knee_line(found: Knee) -> str:
    """Where a service stops to hold, in words."""
    if found.rate is None:
        return f"it does not hold even {found.broke:g} requests/s"
    if found.broke is None:
        return f"it holds {found.rate:.3g} requests/s, and no more was tried"
    return f"knee: it holds {found.rate:.3g} requests/s, and does not hold {found.broke:.3g}"


def cross_check(before: Result, theirs: Mapping[str, Any], after: Result) -> str:
    """What two clients saw of the same load; times from when requests were sent."""
    shown = _table("the same load by", "pdtest", "vllm bench serve", "pdtest again")
    rows = {
        "requests_per_s": ("request_throughput", 1.0),
        "output_tokens_per_s": ("output_throughput", 1.0),
        "ttft_from_sent_mean": ("mean_ttft_ms", 1e-3),
        "tpot_mean": ("mean_tpot_ms", 1e-3),
        "e2e_from_sent_mean": ("mean_e2el_ms", 1e-3),
    }
    for name, (key, factor) in rows.items():
        told = theirs.get(key)
        other = "-" if told is None else entry(told * factor, _unit([before], name))
        shown.add_row(name, _median([before], name) or "-", other, _median([after], name) or "-")
    return _text(shown)


def one_line(result: Result) -> str:
    """A load that was just measured."""
    wanted = ("success_rate", "output_tokens_per_s", "ttft_mean", "tbt_mean")
    told = [f"{name} {cell}" for name in wanted if (cell := _median([result], name))]
    state = "" if result.client.valid else "INVALID, bound by its client: "
    return f"{result.label}: {state}{result.lasted_s:.1f} s, {', '.join(told)}"


def _headline(sides: Mapping[str, Sequence[Result]]) -> str:
    first = next(result for results in sides.values() for result in results)
    requests = first.measure("requests")
    count = f"{requests.value:.0f} requests" if requests and requests.value else "requests"
    return f"{first.environment}: {first.workload.get('name', 'load')}, {count} a run"


def _runs(results: Sequence[Result]) -> str:
    invalid = sum(not one.client.valid for one in results)
    return f"{len(results)}" + (f" ({invalid} INVALID, bound by their client)" if invalid else "")


def _over(comparison: Comparison) -> str:
    return f"{comparison.new.name}/{comparison.old.name} (90 %)"


def _notes(sides: Mapping[str, Sequence[Result]]) -> Iterator[str]:
    """Why there is no energy: the one thing that is easily taken for nothing."""
    measures = [
        measure
        for results in sides.values()
        for result in results
        if (measure := result.measure("energy")) is not None
    ]
    missing = dict.fromkeys(measure.why or "" for measure in measures if measure.value is None)
    for why in missing:
        yield f"no energy: {why}"


def _median(results: Sequence[Result], name: str) -> str | None:
    middle = _middle(results, name)
    return None if middle is None else entry(middle, _unit(results, name))


def _middle(results: Sequence[Result], name: str) -> float | None:
    """The median over those that have it."""
    measures = [measure for result in results if (measure := result.measure(name)) is not None]
    values = [measure.value for measure in measures if measure.value is not None]
    return statistics.median(values) if values else None


def _unit(results: Sequence[Result], name: str) -> str:
    measures = (result.measure(name) for result in results)
    return next((measure.unit for measure in measures if measure is not None), "")


def _table(first: str, *others: str) -> Table:
    shown = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    shown.add_column(first, no_wrap=True)
    for name in others:
        shown.add_column(name, justify="right")
    return shown


def _text(*parts: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, highlight=False)
    for part in parts:
        console.print(part, markup=False) if isinstance(part, str) else console.print(part)
    assert isinstance(console.file, io.StringIO)  # noqa: S101
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())
