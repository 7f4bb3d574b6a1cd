"""The pictures of a page, made of an account."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from statistics import median
from typing import Final

from pdtest.compare.gains import Gains
from pdtest.report.account.account import Account, Life, TestShown
from pdtest.report.account.journey import PHASES, Journey
from pdtest.report.account.load import LoadShown
from pdtest.report.page.axis import Axis
from pdtest.report.page.chart import Bar, Chart, Lane, Lanes, Series, curves, lanes
from pdtest.report.page.group import Group, in_order
from pdtest.results.amount import amount, counted, duration

#: Colours of curves, as classes.
TONES: Final = ("t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7")
#: Curves that a picture has room for.
_CURVES: Final = 48
#: What a phase is called beside its colour.
_PHASE_NAMES: Final = {"waiting": "waiting, phase unknown"}
_DISTRIBUTIONS: Final = {
    "ttft": "Time to first token",
    "tbt": "Time between tokens",
    "tpot": "Time per output token",
    "e2e": "Whole answer",
}
#: What telemetry's quantities are called, those that belong into one picture beside each other.
_QUANTITIES: Final = {
    "power_w": "Power",
    "utilisation": "Utilisation",
    "graphics_clock_mhz": "Graphics clock",
    "memory_clock_mhz": "Memory clock",
    "temperature_c": "Temperature",
    "kv_tokens": "Tokens in the KV cache",
    "kv_usage": "KV cache in use",
    "running": "Requests running",
    "waiting": "Requests waiting",
}
#: Units whose zero is far from everything that happens.
_NEVER_ZERO: Final = frozenset({"MHz", "°C"})
#: Counters and codes, whose curves say nothing: parts of their names.
_UNDRAWN: Final = ("energy", "throttle", "_total", "generation_tokens", "prompt_tokens", "preemptions")
#: Of a sweep, over how hard it was driven.
_SWEPT: Final = {
    "output_tokens_per_s": "Output tokens per second",
    "ttft_p50": "Time to first token, median",
    "ttft_p99": "Time to first token, p99",
    "e2e_p50": "Whole answer, median",
    "goodput": "Goodput",
    "energy_per_token": "Energy per token",
}
#: Points that make a sweep.
_SWEEP: Final = 3


def requests_of(test: TestShown) -> Lanes:
    """The requests of a test, with what befell members meanwhile."""
    said = f" of {len(test.journeys) + test.journeys_left_out}" if test.journeys_left_out else ""
    return lanes(
        "Its requests",
        [_journey(journey, f"{journey.name} {journey.way}") for journey in test.journeys],
        note=f"{counted(len(test.journeys), 'request')}{said}, seconds since the test began",
        flags=[(mark.at_s, _FLAGS[mark.kind], f"{mark.at_s:.2f} s {mark.text}") for mark in test.marks],
        legend=_legend(test.journeys),
    )


#: Tones of marks.
_FLAGS: Final = {"died": "bad", "armed": "bad", "restarted": "warn", "lifted": "good", "ready": "good"}


def requests_of_load(load: LoadShown) -> Iterator[Lanes]:
    """A sample of its requests: when they were, and what each spent its time on, the slowest first."""
    legend = tuple(_legend(load.journeys))
    yield lanes(
        "Requests",
        [_journey(journey, journey.name) for journey in load.journeys],
        note=f"{len(load.journeys)} of {load.requests}, in the order in which they were due",
        legend=legend,
        named=False,
    )
    alone = sorted((_from_zero(journey) for journey in load.journeys), key=_took, reverse=True)
    yield lanes(
        "What they spent their time on",
        [_journey(journey, journey.name) for journey in alone],
        note="each since it was due, the slowest first",
        legend=legend,
        named=False,
    )


def _from_zero(journey: Journey) -> Journey:
    zero = journey.spans[0].from_s if journey.spans else 0.0
    spans = (
        span.model_copy(update={"from_s": span.from_s - zero, "to_s": span.to_s - zero})
        for span in journey.spans
    )
    return journey.model_copy(update={"spans": tuple(spans)})


def _took(journey: Journey) -> float:
    return journey.spans[-1].to_s if journey.spans else 0.0


def uptime(account: Account, environment: str) -> Lanes:
    """When each member was starting, up and gone; seconds since the run began."""
    zero = account.session.began_at or 0.0
    lives = [life for life in account.members if life.environment == environment]
    ends = [test for test in (account.session.took_s,) if test is not None]
    return lanes(
        "Members over the run",
        [_life(life, zero, ends) for life in lives],
        note="seconds since the run began",
        flags=[
            (one.armed_at - zero, "bad", f"{one.fault} on {one.target}")
            for one in account.breaks
            if any(life.member in one.target for life in lives)
        ][:_FAULTS],
        legend=(("starting", "p-waiting"), ("up", "p-decode")),
    )


#: Faults that are drawn through the lanes of members.
_FAULTS: Final = 24


def distributions(group: Group) -> Iterator[Chart]:
    """How many answers came within which time: a curve for each run, a colour for each target."""
    for name, title in _DISTRIBUTIONS.items():
        found = [
            (load, one)
            for target in group.targets
            for load in group.runs(target)
            for one in load.distributions
            if one.name == name and one.points
        ]
        if not found:
            continue
        series = [
            Series(name=load.target, tone=tone_of(group, load.target), points=one.points, stepped=True)
            for load, one in found[:_CURVES]
        ]
        values = [at for one in series for at, _ in one.points]
        observations = sum(one.observations for _, one in found)
        yield curves(
            title,
            series,
            Axis.of_magnitudes(values, "s"),
            Axis(low=0, high=1, unit="1"),
            note=f"share of {observations:,} that took no longer".replace(",", " ") + _left_out(len(found)),
        )


def phases(group: Group) -> Iterator[Lanes]:
    """What a request of each target spends its time on, by the engines' own account, where they tell."""
    rows = [Lane(label=target, bars=tuple(_phases(group, target))) for target in group.targets]
    if any(row.bars for row in rows):
        seen = {bar.tone for row in rows for bar in row.bars}
        yield lanes(
            "What a request spends its time on",
            rows,
            note="as engines tell, mean over all",
            legend=((phase, f"p-{phase}") for phase in PHASES if f"p-{phase}" in seen),
        )


def _phases(group: Group, target: str) -> Iterator[Bar]:
    at = 0.0
    for phase in PHASES:
        took = _middle(group, target, f"phase_{phase}_mean")
        if took is not None:
            share = _middle(group, target, f"phase_{phase}_share")
            text = f"{target}: {phase} {duration(took)}, {amount(share, '1')}"
            yield Bar(from_s=at, to_s=at + took, tone=f"p-{phase}", text=text)
            at += took


def course(group: Group) -> Iterator[Chart]:
    """Concurrency and tokens over the time of the first run of each target."""
    firsts = group.firsts
    x = Axis.over([0.0, *(load.lasted_s for load in firsts)], "s")
    bands = [(*load.steady_s, "steady") for load in firsts[:1] if load.steady_s is not None]
    for title, note, points in (
        ("Concurrency", "requests under way", [load.in_flight for load in firsts]),
        ("Output tokens", "tokens per second", [load.tokens_per_s for load in firsts]),
    ):
        series = [
            Series(
                name=load.target,
                tone=tone_of(group, load.target),
                points=curve,
                stepped=title == "Concurrency",
                filled=len(firsts) == 1,
            )
            for load, curve in zip(firsts, points, strict=True)
        ]
        y = Axis.over([value for curve in points for _, value in curve])
        if any(points):
            yield curves(title, series, x, y, note=note, bands=bands)


def telemetry(load: LoadShown) -> Iterator[Chart]:
    """What devices and members told of themselves while it ran: a picture for each quantity."""
    x = Axis.over([0.0, load.lasted_s], "s")
    bands = [(*load.steady_s, "steady")] if load.steady_s is not None else []
    sources: dict[tuple[str, str], list[tuple[str, float, float, Series]]] = defaultdict(list)
    tones = dict(zip((monitor.name for monitor in load.monitors), cycle(TONES), strict=False))
    for monitor in load.monitors:
        for quantity in monitor.quantities:
            if any(part in quantity.name for part in _UNDRAWN):
                continue
            series = Series(name=monitor.name, tone=tones[monitor.name], points=quantity.points)
            sources[quantity.name, quantity.unit].append((monitor.name, quantity.mean, quantity.most, series))
    for (name, unit), found in sorted(sources.items(), key=lambda one: _rank(one[0][0])):
        series_of = [series for _, _, _, series in found[:_CURVES]]
        values = [value for series in series_of for _, value in series.points]
        shown = "°C" if unit == "C" else unit
        most = max(most for _, _, most, _ in found)
        mean = sum(mean for _, mean, _, _ in found) / len(found)
        yield curves(
            _QUANTITIES.get(name, name.replace("_", " ").capitalize()),
            series_of,
            x,
            Axis.over(values, shown, zero=shown not in _NEVER_ZERO),
            note=f"mean {amount(mean, shown)}, at most {amount(most, shown)}{_left_out(len(found))}",
            bands=bands,
        )


def _left_out(curves_of: int) -> str:
    return f"; {_CURVES} of {curves_of} are drawn" if curves_of > _CURVES else ""


def sweeps(found: Sequence[Group]) -> Iterator[tuple[str, tuple[Chart, ...]]]:
    """By environment: measures over how hard it was driven, where that was varied."""
    by_environment: dict[str, list[Group]] = defaultdict(list)
    for group in found:
        by_environment[group.environment].append(group)
    for environment, own in by_environment.items():
        for driven, unit in (
            ("offered_requests_per_s", "requests per second asked for"),
            ("concurrency_mean", "concurrency"),
        ):
            charts = tuple(_sweep(own, driven, unit))
            if charts:
                yield environment, charts
                break


def gains(found: Gains) -> Iterator[Lanes]:
    """A picture for each measure of topologies: the median over the runs of each."""
    for measure in found.measures:
        runs = {name: found.runs(name, measure) for name in found.names}
        unit = found.unit(measure)
        if any(runs.values()):
            yield lanes(
                measure.replace("_", " "),
                [_topology(found, name, values, unit) for name, values in runs.items()],
                note=unit if unit not in {"s", "1"} else "",
                unit=unit,
            )


def _topology(found: Gains, name: str, values: Sequence[float], unit: str) -> Lane:
    if not values:
        return Lane(label=name, bars=())
    middle = median(values)
    told = f"{name} {amount(middle, unit)}, from {amount(min(values), unit)} to {amount(max(values), unit)}"
    tone = TONES[found.names.index(name) % len(TONES)]
    return Lane(
        label=f"{name} {amount(middle, unit)}", bars=(Bar(from_s=0, to_s=middle, tone=tone, text=told),)
    )


def tone_of(group: Group, target: str) -> str:
    """Each target has its own in all pictures of a group."""
    return TONES[group.targets.index(target) % len(TONES)]


def _sweep(own: Sequence[Group], driven: str, words: str) -> Iterator[Chart]:
    targets = in_order(target for group in own for target in group.targets)
    for name, title in _SWEPT.items():
        points = {target: tuple(sorted(_swept(own, target, driven, name))) for target in targets}
        if max(len({at for at, _ in curve}) for curve in points.values()) < _SWEEP:
            continue
        series = [
            Series(name=target, tone=TONES[number % len(TONES)], points=points[target], dotted=True)
            for number, target in enumerate(targets)
        ]
        flat = [point for curve in points.values() for point in curve]
        unit = next(one.unit for group in own for load in group.loads if (one := load.measure(name)))
        yield curves(
            title,
            series,
            Axis.over([at for at, _ in flat]),
            Axis.over([to for _, to in flat], unit),
            note=f"{unit}, over {words}" if unit not in {"s", "1"} else f"over {words}",
        )


def _swept(own: Sequence[Group], target: str, driven: str, name: str) -> Iterator[tuple[float, float]]:
    for group in own:
        at = _middle(group, target, driven)
        value = _middle(group, target, name)
        if at is not None and value is not None:
            yield at, value


def _middle(group: Group, target: str, name: str) -> float | None:
    taken = [
        one.value for load in group.runs(target) if (one := load.measure(name)) and one.value is not None
    ]
    return median(taken) if taken else None


def _journey(journey: Journey, label: str) -> Lane:
    return Lane(
        label=label,
        bars=tuple(
            Bar(
                from_s=span.from_s,
                to_s=span.to_s,
                tone=f"p-{span.phase}",
                text=f"{label}: {span.phase} {duration(span.to_s - span.from_s)}; {journey.said}",
            )
            for span in journey.spans
        ),
        note=journey.said,
        end="" if journey.ok else "bad",
    )


def _life(life: Life, zero: float, ends: Sequence[float]) -> Lane:
    bars = []
    for spell in life.spells:
        begin = spell.started_at - zero
        end = spell.ended_at - zero if spell.ended_at is not None else max([begin, *ends])
        up = spell.ready_at - zero if spell.ready_at is not None else end
        bars.append(Bar(from_s=begin, to_s=up, tone="p-waiting", text=f"starting, {duration(up - begin)}"))
        if up < end:
            bars.append(
                Bar(
                    from_s=up, to_s=end, tone="p-decode", text=f"up, {duration(end - up)}, then {spell.ended}"
                )
            )
    died = sum(spell.ended == "died" for spell in life.spells)
    note = f"died {counted(died, 'time')}" if died else ""
    return Lane(
        label=life.member, bars=tuple(bars), note=note, end="bad" if life.spells[-1].ended == "died" else ""
    )


def _legend(journeys: Iterable[Journey]) -> Iterator[tuple[str, str]]:
    seen = {span.phase for journey in journeys for span in journey.spans}
    yield from ((_PHASE_NAMES.get(phase, phase), f"p-{phase}") for phase in PHASES if phase in seen)


def _rank(name: str) -> tuple[int, str]:
    known = list(_QUANTITIES)
    return (known.index(name) if name in known else len(known), name)
