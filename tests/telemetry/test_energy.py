from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.results import Exchange, Measure, Monitor, Piece, Reading
from pdtest.telemetry.energy import energy, energy_by_request, energy_measures, total

Values = Mapping[str, float]


def monitor(  # noqa: PLR0913 - a record
    readings: Sequence[tuple[float, Values]],
    *,
    name: str = "nvidia0",
    kind: str = "nvidia",
    members: tuple[str, ...] = ("prefill",),
    every_s: float = 0.1,
    missing: Mapping[str, str] | None = None,
) -> Monitor:
    return Monitor(
        kind=kind,
        name=name,
        members=members,
        every_s=every_s,
        true_every_s=every_s,
        units={quantity: "" for _, values in readings for quantity in values},
        readings=tuple(Reading(at_s=at_s, values=dict(values)) for at_s, values in readings),
        missing=dict(missing or {}),
    )


def every(step_s: float, until_s: float, power: Callable[[float], float]) -> list[tuple[float, Values]]:
    count = round(until_s / step_s)
    return [(n * step_s, {"power_w": power(n * step_s)}) for n in range(count + 1)]


def steady(watts: float, **how: object) -> Monitor:
    return monitor(every(0.1, 10.0, lambda _: watts), **how)  # type: ignore[arg-type]


def exchange(
    number: int, sent_s: float, ended_s: float, *, tokens: Sequence[float] = (), error: str | None = None
) -> Exchange:
    return Exchange(
        number=number,
        request_id=str(number),
        due_s=sent_s,
        sent_s=sent_s,
        first_byte_s=tokens[0] if tokens else None,
        pieces=tuple(Piece(at_s=at_s, tokens=1, read=n) for n, at_s in enumerate(tokens)),
        ended_s=ended_s,
        prompt_tokens=100,
        max_tokens=len(tokens),
        completion_tokens=len(tokens),
        finish_reason="length",
        status=200,
        error=error,
    )


def by_name(measures: Sequence[Measure]) -> dict[str, Measure]:
    return {measure.name: measure for measure in measures}


def test_power_over_time_is_energy() -> None:
    assert energy(steady(300.0), 2.0, 5.0).joules == pytest.approx(900.0)
    rising = monitor(every(0.1, 10.0, lambda at: 100.0 * at))
    assert energy(rising, 2.0, 4.0).joules == pytest.approx(100 * (16 - 4) / 2)


def test_between_readings_it_is_interpolated() -> None:
    assert energy(steady(300.0), 2.03, 2.07).joules == pytest.approx(12.0)


def test_a_counter_is_believed_before_power() -> None:
    both = monitor([(0.0, {"energy_j": 50.0, "power_w": 1.0}), (10.0, {"energy_j": 1050.0, "power_w": 1.0})])
    assert energy(both, 0.0, 10.0).joules == pytest.approx(1000.0)
    assert energy(both, 5.0, 6.0).joules == pytest.approx(100.0), "a counter has what nobody looked at"


def test_where_readings_do_not_reach_there_is_no_number() -> None:
    late = monitor([(at, values) for at, values in every(0.1, 10.0, lambda _: 300.0) if at > 3.0])
    assert energy(late, 0.0, 10.0).joules is None
    assert energy(late, 0.0, 10.0).why == "nvidia0: its first reading came 3.1 s after the beginning"
    assert energy(steady(300.0), 0.0, 12.0).why == "nvidia0: its last reading came 2.0 s before the end"
    assert energy(steady(300.0), 0.0, 10.1).joules == pytest.approx(3030.0), "an interval more is as the last"


def test_a_gap_in_power_is_no_number() -> None:
    holed = monitor([one for one in every(0.1, 10.0, lambda _: 300.0) if not 4.0 < one[0] < 5.5])
    assert (energy(holed, 0.0, 10.0).why or "").startswith("nvidia0: no reading of its power for 1.5")
    assert energy(holed, 6.0, 10.0).joules == pytest.approx(1200.0), "the gap is elsewhere"


def test_a_counter_that_fell_is_no_number() -> None:
    anew = monitor([(0.0, {"energy_j": 9e6}), (5.0, {"energy_j": 10.0}), (10.0, {"energy_j": 20.0})])
    assert "went backwards" in (energy(anew, 0.0, 10.0).why or "")


def test_what_is_missing_gives_its_reason() -> None:
    absent = monitor([], missing={"*": "NVML: Driver Not Loaded"})
    assert energy(absent, 0.0, 1.0).why == "nvidia0: NVML: Driver Not Loaded"
    without = monitor([(0.0, {"utilisation": 0.5})], missing={"power_w": "NVML: Not Supported"})
    assert energy(without, 0.0, 1.0).why == "nvidia0: NVML: Not Supported"
    assert total([steady(300.0), absent], 0.0, 1.0).joules is None, "a sum without a part is none"


PREFILL_AND_DECODE = [
    steady(400.0, name="nvidia0", members=("prefill",)),
    steady(200.0, name="nvidia1", members=("decode",)),
    steady(150.0, name="cpu", kind="cpu", members=()),
]
PHASES = {"prefill": "prefill", "decode": "decode"}
WORK = [
    exchange(0, 0.0, 4.0, tokens=[1.0, 2.0, 3.0, 4.0]),
    exchange(1, 0.0, 6.0, tokens=[2.0, 4.0, 6.0]),
    exchange(2, 1.0, 2.0, error="refused"),
]


def test_energy_by_token_request_and_phase() -> None:
    told = by_name(energy_measures(PREFILL_AND_DECODE, WORK, (0.0, 10.0), PHASES))
    assert {name: measure.value for name, measure in told.items()} == pytest.approx(
        {
            "energy": 6000.0,
            "power_mean": 600.0,
            "power_max": 600.0,
            "energy_per_token": 6000 / 7,
            "tokens_per_joule": 7 / 6000,
            "energy_per_request": 3000.0,
            "energy_prefill": 4000.0,
            "energy_decode": 2000.0,
            "energy_prefill_per_token": 20.0,
            "energy_decode_per_token": 2000 / 7,
        }
    )
    assert told["energy_per_request"].samples == 2
    assert told["tokens_per_joule"].better == "higher"


def test_a_span_counts_the_work_that_was_done_in_it() -> None:
    told = by_name(energy_measures(PREFILL_AND_DECODE, WORK, (2.0, 4.0), PHASES))
    assert told["energy"].value == pytest.approx(1200.0)
    assert told["energy_per_token"].samples == 5
    assert told["energy_per_request"].samples == 1
    assert told["energy_prefill_per_token"].samples == 100, "the first token of one came before"


def test_phases_on_one_device_cannot_be_told_apart() -> None:
    one = [steady(400.0, members=("prefill", "decode"))]
    told = by_name(energy_measures(one, WORK, (0.0, 10.0), PHASES))
    assert told["energy"].value == pytest.approx(4000.0)
    assert told["energy_prefill"].value is None
    assert told["energy_decode_per_token"].why == (
        "nvidia0: prefill and decode are not on devices of their own"
    )
    single = by_name(energy_measures([steady(400.0, members=("colocated",))], WORK, (0.0, 10.0), {}))
    assert single["energy_prefill"].value is None


def test_a_machine_counts_where_members_compute_on_its_processors() -> None:
    machine = steady(150.0, name="cpu", kind="cpu", members=("prefill", "decode"))
    told = by_name(energy_measures([machine], WORK, (0, 10), PHASES))
    assert told["power_mean"].value == pytest.approx(150.0)
    assert told["energy_prefill"].value is None
    idle = steady(150.0, name="cpu", kind="cpu", members=())
    told = by_name(energy_measures([idle], WORK, (0, 10), PHASES))
    assert told["power_mean"].value is None, "it is where the client runs"


def test_tokens_are_those_that_the_server_counts() -> None:
    one = exchange(0, 0.0, 4.0, tokens=[1.0, 2.0]).model_copy(update={"completion_tokens": 5})
    told = by_name(energy_measures(PREFILL_AND_DECODE, [one], (0.0, 10.0), PHASES))
    assert told["energy_per_token"].samples == 5
    broken = exchange(1, 0.0, 4.0, tokens=[1.0, 2.0], error="reset")
    told = by_name(energy_measures(PREFILL_AND_DECODE, [one, broken], (0.0, 10.0), PHASES))
    assert told["energy_per_token"].samples == 5, "an answer that broke off served nobody"


def test_a_shared_card_counts_once() -> None:
    card = steady(160.0, name="ascend-card0", kind="ascend", members=("prefill", "decode"))
    chips = [
        monitor([(0.0, {"utilisation": 0.5})], name=f"ascend{n}", kind="ascend", members=("prefill",))
        for n in range(2)
    ]
    told = by_name(energy_measures([*chips, card], WORK, (0.0, 10.0), PHASES))
    assert told["power_mean"].value == pytest.approx(160.0)


def test_the_highest_power_is_that_of_all_at_once() -> None:
    first = monitor(every(0.1, 10.0, lambda at: 500.0 if at < 5 else 100.0), name="nvidia0")
    second = monitor(every(0.1, 10.0, lambda at: 100.0 if at < 5 else 300.0), name="nvidia1")
    told = by_name(energy_measures([first, second], WORK, (1.0, 9.0), {}))
    # At the change itself one device may have told already and the other not.
    assert told["power_max"].value == pytest.approx(600.0)


def test_a_missing_source_is_named_in_every_measure_not_zero() -> None:
    member = monitor([(0.0, {"kv_usage": 0.5})], name="decode", kind="member")
    told = energy_measures([member], WORK, (0.0, 10.0), PHASES)
    assert all(measure.value is None and measure.why for measure in told)
    absent = monitor([], missing={"*": "no driver"})
    told = energy_measures([absent, *PREFILL_AND_DECODE[1:]], WORK, (0.0, 10.0), PHASES)
    assert by_name(told)["energy"].why == "nvidia0: no driver"
    assert by_name(told)["power_max"].value is None
    assert by_name(told)["energy_decode"].value == pytest.approx(2000.0)


def test_without_work_there_is_nothing_to_divide_by() -> None:
    told = by_name(energy_measures(PREFILL_AND_DECODE, [], (0.0, 10.0), PHASES))
    assert told["energy"].value == pytest.approx(6000.0)
    assert told["energy_per_token"].value is None
    assert told["energy_per_token"].why == "there were none in this span"


def test_each_request_has_its_share_of_every_moment() -> None:
    shares = energy_by_request([steady(100.0)], [exchange(0, 0.0, 4.0), exchange(1, 2.0, 6.0)])
    # Alone for two seconds, together for two.
    assert shares == pytest.approx({"0": 300.0, "1": 300.0})
    assert energy_by_request([monitor([], missing={"*": "no driver"})], WORK) == {}


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 9), st.floats(0.001, 1)), min_size=1, max_size=20),
    st.lists(st.floats(0, 700), min_size=101, max_size=101),
)
def test_shares_add_up_to_all_that_was_taken_while_requests_ran(
    spans: list[tuple[float, float]], watts: list[float]
) -> None:
    device = monitor([(n / 10, {"power_w": one}) for n, one in enumerate(watts)])
    requests = [exchange(n, begin, begin + length) for n, (begin, length) in enumerate(spans)]
    shares = energy_by_request([device], requests)
    taken, reach = 0.0, 0.0
    for one in sorted(requests, key=lambda one: one.sent_s):
        begin_s = max(one.sent_s, reach)
        if one.ended_s > begin_s:
            taken += energy(device, begin_s, one.ended_s).joules or 0.0
            reach = one.ended_s
    assert sum(shares.values()) == pytest.approx(taken, rel=1e-6, abs=1e-6)
    assert all(share >= -1e-9 for share in shares.values())
