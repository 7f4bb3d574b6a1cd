"""A client's load: for the terminal, as JSON, and as numbers for JUnit."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from pdtest.client.handoff import Handoff
from pdtest.load.openloop import Launched
from pdtest.load.phases import Times
from pdtest.oracle.client_load import ClientLoad
from pdtest.telemetry.series import Series
from pdtest.telemetry.source import RankReading

#: Columns of the table: it is read in CI logs and pasted into tickets.
WIDTH = 80
#: Rows of KV lengths over time.
_MOMENTS = 9


def table(load: ClientLoad) -> str:
    """What is reported, readable in 80 columns."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, highlight=False)
    console.print(_headline(load))
    console.print(_claims(load))
    console.print(_times(load))
    for member, series in load.series.items():
        if series.ranks:
            console.print(_lengths(load, member, series))
    assert isinstance(console.file, io.StringIO)  # noqa: S101
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def as_json(load: ClientLoad) -> dict[str, Any]:
    """Everything that was measured, for files. Times in seconds."""
    return {
        "environment": load.environment.name,
        "load": load.environment.load.model_dump(mode="json"),
        "watch": load.environment.watch.model_dump(mode="json"),
        "thresholds": load.environment.thresholds.client.model_dump(mode="json"),
        "numbers": load.numbers(),
        "requests": [
            _request(length, one) for length, one in zip(load.plan.lengths, load.launched, strict=True)
        ],
        "kv": {member: _series(series) for member, series in load.series.items()},
    }


def _headline(load: ClientLoad) -> str:
    lengths, asked = sorted(load.plan.lengths), load.plan.load
    return (
        f"{load.environment.name}: {asked.requests} requests over {asked.over_s:g} s by the client\n"
        f"prompts of {lengths[0]} to {lengths[-1]} tokens, median {lengths[len(lengths) // 2]}, "
        f"{asked.max_tokens} tokens out"
    )


def _claims(load: ClientLoad) -> Table:
    limits, transfer = load.environment.thresholds.client, load.transfer
    total = load.phases.total
    shown = _table("", "", "wanted")
    shown.add_row("success rate", f"{load.success_rate:.1%}", f"> {limits.success_rate:.0%}")
    rate = "unknown" if transfer.rate is None else f"{transfer.rate:.1%}"
    shown.add_row("KV-transfer success rate", rate, f">= {limits.kv_transfer_rate:.0%}")
    mean = "none answered" if total is None else f"{total.mean:.2f} s"
    shown.add_row("mean latency", mean, f"< {limits.mean_latency_s:g} s")
    shown.add_row("requests/s", f"{load.requests_per_s:.2f}", f">= {limits.requests_per_s:g}")
    shown.add_row("answers/s, to the last one", f"{load.answers_per_s:.2f}", "")
    age = f"{load.statistics_age_s:.2f} s"
    shown.add_row("age of KV statistics, at most", age, f"<= {limits.statistics_age_s:g} s")
    for member, spread in load.spreads.items():
        preference = spread.measured.preference
        shown.add_row(
            f"{member}: unevenness of KV / of requests",
            "unknown" if preference is None else f"{preference:.2f}",
            f"< {limits.kv_preference:g}, by count {_or_unknown(spread.by_count.preference)}",
        )
        allowed = 1 + limits.kv_imbalance * (spread.by_count.imbalance - 1)
        shown.add_row(
            f"{member}: KV of the fullest rank / mean",
            f"{spread.measured.imbalance:.2f}",
            f"<= {allowed:.2f}, by count {spread.by_count.imbalance:.2f}",
        )
    return shown


def _times(load: ClientLoad) -> Table:
    phases = load.phases
    shown = _table("seconds", "mean", "share", "p50", "p90", "p99", "max")
    rows: Mapping[str, Times | None] = {
        "total": phases.total,
        "prefill": phases.prefill,
        "decode": phases.decode,
        "between": phases.between,
    }
    for name, times in rows.items():
        if times is not None:
            numbers = (times.p50, times.p90, times.p99, times.most)
            share = f"{phases.share(times) or 0:.1%}"
            shown.add_row(name, f"{times.mean:.3f}", share, *(f"{number:.3f}" for number in numbers))
    return shown


def _lengths(load: ClientLoad, member: str, series: Series) -> Table:
    """KV per rank at a few moments of the load, and at the end of the watch: tokens (requests)."""
    shown = _table(f"{member}: KV", *(f"rank {rank}" for rank in series.ranks), "max/mean")
    over_s = max(one.ended_s for one in load.launched)
    for at_s in (*(over_s * (number + 1) / _MOMENTS for number in range(_MOMENTS - 1)), load.watched_s):
        state = series.at(at_s)
        held = [state[rank].length for rank in series.ranks if rank in state]
        mean = sum(held) / len(held) if held else 0.0
        cells = [_cell(state.get(rank)) for rank in series.ranks]
        shown.add_row(f"{at_s:5.1f} s", *cells, f"{max(held) / mean:.2f}" if mean else "")
    return shown


def _cell(reading: RankReading | None) -> str:
    if reading is None:
        return ""
    length = f"{reading.usage or 0:.1%}" if reading.tokens is None else f"{reading.tokens:.0f}"
    return length if reading.requests is None else f"{length} ({reading.requests})"


def _table(first: str, *others: str) -> Table:
    shown = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    shown.add_column(first)
    for name in others:
        shown.add_column(name, justify="right")
    return shown


def _or_unknown(number: float | None) -> str:
    return "unknown" if number is None else f"{number:.2f}"


def _request(length: int, one: Launched[Handoff]) -> dict[str, Any]:
    handoff = one.result
    return {
        "request_id": handoff.request_id,
        "prompt_tokens": length,
        "planned_s": one.planned_s,
        "started_s": one.started_s,
        "ended_s": one.ended_s,
        "ending": str(handoff.ending),
        "prefill_s": handoff.prefill.took_s if handoff.prefill else None,
        "decode_s": handoff.decode.took_s if handoff.decode else None,
        "error": str(handoff.error) if handoff.error else None,
    }


def _series(series: Series) -> dict[str, Any]:
    return {
        "source": series.source,
        "problems": list(series.problems),
        "looks": list(_looks(series)),
    }


def _looks(series: Series) -> Iterator[dict[str, Any]]:
    for look in series.looks:
        yield {
            "asked_s": look.asked_s,
            "seen_s": look.seen_s,
            "ranks": {
                reading.rank: {
                    "kv_tokens": reading.tokens,
                    "kv_usage": reading.usage,
                    "running": reading.running,
                    "waiting": reading.waiting,
                }
                for reading in look.readings
            },
        }
