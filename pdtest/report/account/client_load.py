"""A load that the client led (suites/client_orchestrated), as one among others: client-load.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pdtest.report.account.curve import in_flight, shares, thinned
from pdtest.report.account.journey import Journey, Span
from pdtest.report.account.load import Distribution, LoadShown, MonitorShown, Quantity
from pdtest.results import Better, ClientHealth, Measure

FILE: Final = "client-load.json"
#: Requests whose way is drawn.
_JOURNEYS: Final = 64
_UNITS: Final = {"kv_tokens": "tokens", "kv_usage": "1", "running": "requests", "waiting": "requests"}


def client_load(file: Path, run: Path) -> LoadShown:
    """What the file tells; raises KeyError and the like for one that is none."""
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    requests: Sequence[dict[str, Any]] = told["requests"]
    answered = [one for one in requests if one["error"] is None]
    lasted_s = max((one["ended_s"] for one in requests), default=0.0)
    total = sorted(one["ended_s"] - one["started_s"] for one in answered)
    step = max(len(requests) / _JOURNEYS, 1.0)
    sampled = [requests[int(place * step)] for place in range(min(len(requests), _JOURNEYS))]
    return LoadShown(
        environment=told["environment"],
        folder=str(file.parent.relative_to(run)),
        label="client-load",
        target="led by the client",
        repeat=0,
        fingerprint="",
        workload={"name": "client-load", "requests": len(requests), "duration_s": told["load"]["over_s"]},
        begun_at=0.0,
        lasted_s=lasted_s,
        steady_s=None,
        client=_unjudged(),
        requests=len(requests),
        errors=dict(Counter(_first_line(one["error"]) for one in requests if one["error"] is not None)),
        measures=tuple(_measure(name, value) for name, value in told["numbers"].items()),
        distributions=(Distribution(name="e2e", observations=len(total), points=shares(total)),)
        if total
        else (),
        in_flight=thinned(in_flight((one["started_s"], one["ended_s"]) for one in requests)),
        tokens_per_s=(),
        journeys=tuple(map(_journey, sampled)),
        monitors=tuple(
            monitor for member, series in told["kv"].items() for monitor in _monitors(member, series)
        ),
    )


def _unjudged() -> ClientHealth:
    return ClientHealth(
        processes=1, loop_lag_p99_s=None, schedule_lag_p99_s=None, cpu_share=None, coalesced_share=None
    )


def _first_line(error: str) -> str:
    return error.partition("\n")[0]


def _measure(name: str, value: float | None) -> Measure:
    unit = (
        "s"
        if name.endswith("_s") and "per_s" not in name
        else "1"
        if name.endswith(("rate", "share"))
        else ""
    )
    return Measure(
        name=name,
        value=value,
        unit=unit,
        better=Better.NEITHER,
        why=None if value is not None else "not known",
    )


def _journey(request: Mapping[str, Any]) -> Journey:
    """Prefill from the start, decode until the end; between them the client."""
    begun, ended = request["started_s"], request["ended_s"]
    prefill, decode = request["prefill_s"], request["decode_s"]
    spans = [Span(phase="waiting", from_s=request["planned_s"], to_s=begun)]
    if prefill is not None:
        spans.append(Span(phase="prefill", from_s=begun, to_s=begun + prefill))
    if decode is not None:
        spans.append(Span(phase="decode", from_s=max(ended - decode, begun), to_s=ended))
    return Journey(
        name=request["request_id"].removeprefix("pdtest-")[:8],
        way="",
        ok=request["error"] is None,
        said=_first_line(request["error"] or f"{request['prompt_tokens']} tokens, {request['ending']}"),
        spans=tuple(spans),
    )


def _monitors(member: str, series: Mapping[str, Any]) -> Iterator[MonitorShown]:
    """One for each data-parallel rank."""
    looks: Sequence[Mapping[str, Any]] = series["looks"]
    for rank in sorted({rank for look in looks for rank in look["ranks"]}, key=int):
        own = [(look["seen_s"], look["ranks"][rank]) for look in looks if rank in look["ranks"]]
        yield MonitorShown(
            kind="member",
            name=f"{member}, rank {rank}",
            members=(member,),
            every_s=0.0,
            true_every_s=None,
            cost_cpu_share=None,
            quantities=tuple(_quantities(own)),
            missing={},
        )


def _quantities(own: Sequence[tuple[float, Mapping[str, Any]]]) -> Iterator[Quantity]:
    for name, unit in _UNITS.items():
        points = [(at, float(values[name])) for at, values in own if values[name] is not None]
        if points:
            heights = [height for _, height in points]
            mean = sum(heights) / len(heights)
            yield Quantity(name=name, unit=unit, points=thinned(points), mean=mean, most=max(heights))
