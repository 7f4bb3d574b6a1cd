"""Energy per token, per request and per phase of a load. Definitions: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from pdtest.results.exchange import Exchange
from pdtest.results.measure import Better, Measure
from pdtest.results.monitor import Monitor
from pdtest.telemetry.curve import POWER, Curve, curve, has_power

PHASES: Final = ("prefill", "decode")


@dataclass(frozen=True, kw_only=True)
class Energy:
    """``joules`` is None where it cannot be told, never 0; ``why`` says why."""

    joules: float | None
    why: str | None = None


@dataclass(frozen=True)
class _Number:
    """Of any unit; None where it cannot be told, and why."""

    value: float | None
    why: str | None = None

    @classmethod
    def of(cls, energy: Energy) -> Self:
        """In joules."""
        return cls(energy.joules, energy.why)

    def per(self, count: float) -> _Number:
        """Divided; of nothing it cannot be told."""
        if self.value is None or count > 0:
            return _Number(None if self.value is None else self.value / count, self.why)
        return _Number(None, "there were none in this span")

    def turned(self) -> _Number:
        """One divided by it."""
        if self.value is None or self.value > 0:
            return _Number(None if self.value is None else 1 / self.value, self.why)
        return _Number(None, "no energy was counted in this span")


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What was done within a span."""

    prompt_tokens: int
    answer_tokens: int
    requests: int


def devices_of(monitors: Sequence[Monitor]) -> tuple[Monitor, ...]:
    """Those whose energy counts: what members compute on.

    Where that is chips, what processors and memory take beside them is not in it.
    """
    return tuple(monitor for monitor in monitors if monitor.members and has_power(monitor))


def energy(monitor: Monitor, begin_s: float, end_s: float) -> Energy:
    """What one device took from ``begin_s`` to ``end_s`` of the load's clock: see `curve`."""
    found = curve(monitor, begin_s, end_s)
    if isinstance(found, str):
        return Energy(joules=None, why=f"{monitor.name}: {found}")
    return Energy(joules=found.at(end_s) - found.at(begin_s))


def total(monitors: Sequence[Monitor], begin_s: float, end_s: float) -> Energy:
    """Of all of them together; None where one of them cannot tell, with its reason."""
    return _sum([energy(monitor, begin_s, end_s) for monitor in monitors])


def energy_measures(
    monitors: Sequence[Monitor],
    exchanges: Sequence[Exchange],
    span_s: tuple[float, float],
    phases: Mapping[str, str],
) -> tuple[Measure, ...]:
    """All that docs/metrics.md lists under energy, over a span of the load's clock.

    ``monitors``: of what took part; leave out devices of members that did not. ``phases``: by member,
    ``prefill`` or ``decode``; members that do both (``colocated``) are left out. Always the same names:
    ``energy``, ``power_mean``, ``power_max``, ``energy_per_token``, ``tokens_per_joule``,
    ``energy_per_request``, ``energy_prefill``, ``energy_decode``, ``energy_prefill_per_token`` (of
    prompts), ``energy_decode_per_token`` (of answers).
    """
    begin_s, end_s = span_s
    devices = devices_of(monitors)
    work = _work(exchanges, begin_s, end_s)
    joules = _Number.of(total(devices, begin_s, end_s))
    per_token = joules.per(work.answer_tokens)
    prefill, decode = (_Number.of(_of_phase(devices, phase, phases, span_s)) for phase in PHASES)
    return (
        _measure("energy", "J", joules),
        _measure("power_mean", "W", joules.per(end_s - begin_s)),
        _measure("power_max", "W", _most_w(devices, begin_s, end_s)),
        _measure("energy_per_token", "J/token", per_token, work.answer_tokens),
        _measure("tokens_per_joule", "tokens/J", per_token.turned(), work.answer_tokens),
        _measure("energy_per_request", "J", joules.per(work.requests), work.requests),
        _measure("energy_prefill", "J", prefill),
        _measure("energy_decode", "J", decode),
        _measure("energy_prefill_per_token", "J/token", prefill.per(work.prompt_tokens), work.prompt_tokens),
        _measure("energy_decode_per_token", "J/token", decode.per(work.answer_tokens), work.answer_tokens),
    )


def energy_by_request(monitors: Sequence[Monitor], exchanges: Sequence[Exchange]) -> Mapping[str, float]:
    """Joules of each request: at every moment what is taken is shared alike by the requests under way.

    By request id; empty where energy cannot be told for the whole time. What is taken while no request is
    under way is nobody's, so the sum may be less than `total`.
    """
    marks = sorted({at for one in exchanges for at in (one.sent_s, one.ended_s)})
    if len(marks) < 2:  # noqa: PLR2004 - a beginning and an end
        return {}
    curves = [curve(device, marks[0], marks[-1]) for device in devices_of(monitors)]
    told = [found for found in curves if isinstance(found, Curve)]
    if not told or len(told) < len(curves):
        return {}
    joules = [sum(found.at(mark) for found in told) for mark in marks]
    return _shared_out(exchanges, marks, joules)


def _shared_out(
    exchanges: Sequence[Exchange], marks: Sequence[float], joules: Sequence[float]
) -> Mapping[str, float]:
    """With what one request got since the beginning, had it been there all along: each gets a difference."""
    place = {mark: index for index, mark in enumerate(marks)}
    change = [0] * len(marks)
    for one in exchanges:
        change[place[one.sent_s]] += 1
        change[place[one.ended_s]] -= 1
    got, under_way = [0.0], 0
    for index in range(len(marks) - 1):
        under_way += change[index]
        got.append(got[-1] + ((joules[index + 1] - joules[index]) / under_way if under_way else 0.0))
    return {one.request_id: got[place[one.ended_s]] - got[place[one.sent_s]] for one in exchanges}


def _work(exchanges: Iterable[Exchange], begin_s: float, end_s: float) -> _Work:
    """Of requests that were answered: tokens that came within a span, prompts whose first token did."""
    prompts = answers = requests = 0
    for one in (one for one in exchanges if one.ok):
        answers += sum(piece.tokens for piece in one.pieces if begin_s <= piece.at_s <= end_s)
        if one.pieces and begin_s <= one.pieces[0].at_s <= end_s:
            prompts += one.prompt_tokens
        if begin_s <= one.ended_s <= end_s:
            requests += 1
            answers += _beside_seen(one)
    return _Work(prompt_tokens=prompts, answer_tokens=answers, requests=requests)


def _beside_seen(one: Exchange) -> int:
    """Tokens that the server counts and no event showed (less than 0: the other way): put to its end."""
    return one.tokens - sum(piece.tokens for piece in one.pieces)


def _of_phase(
    devices: Sequence[Monitor], phase: str, phases: Mapping[str, str], span_s: tuple[float, float]
) -> Energy:
    """Of the devices that do nothing else."""
    doing = {device.name: {phases.get(member, "both") for member in device.members} for device in devices}
    mixed = sorted(name for name, done in doing.items() if len(done) != 1 or done == {"both"})
    if mixed:
        return Energy(
            joules=None, why=f"{', '.join(mixed)}: prefill and decode are not on devices of their own"
        )
    return total([device for device in devices if doing[device.name] == {phase}], *span_s)


def _sum(parts: Sequence[Energy]) -> Energy:
    if not parts:
        return Energy(joules=None, why="nothing whose power could be read")
    joules = 0.0
    for part in parts:
        if part.joules is None:
            return part
        joules += part.joules
    return Energy(joules=joules)


def _most_w(devices: Sequence[Monitor], begin_s: float, end_s: float) -> _Number:
    """The greatest power of all together, as they last said, at any reading of the span."""
    readings = sorted(
        (one.at_s, device.name, one.values[POWER])
        for device in devices
        for one in device.readings
        if POWER in one.values and one.at_s <= end_s
    )
    last: dict[str, float] = {}
    sums: list[float] = []
    for at_s, name, watts in readings:
        last[name] = watts
        if at_s >= begin_s and len(last) == len(devices):
            sums.append(sum(last.values()))
    if sums:
        return _Number(max(sums))
    return _Number(None, total(devices, begin_s, end_s).why or "no reading of power in this span")


def _measure(name: str, unit: str, number: _Number, samples: int | None = None) -> Measure:
    better = Better.HIGHER if unit == "tokens/J" else Better.LOWER
    return Measure(name=name, value=number.value, unit=unit, better=better, samples=samples, why=number.why)
