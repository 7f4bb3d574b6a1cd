"""What is made of a load: numbers, findings, and where to look."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pdtest.client.answer import Answer
from pdtest.client.errors import (
    BrokenStream,
    Call,
    HttpStatusError,
    MemberGone,
    RequestFailed,
    RequestTimedOut,
    Unreachable,
)
from pdtest.client.handoff import Ending, Handoff, Hop
from pdtest.client.request import Request
from pdtest.environment.schema import Environment
from pdtest.load.openloop import Launched
from pdtest.load.plan import planned
from pdtest.oracle.client_findings import ClientFindings
from pdtest.oracle.client_load import ClientLoad
from pdtest.oracle.suspects import Whereabouts
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.report import client_load as report
from pdtest.telemetry.series import Look, Series
from pdtest.telemetry.source import RankReading
from pdtest.wire.contract import Breach, Leg, Review

from .fakes import BLOCK_BYTES, NIXL, Counts, Model, decode_window, environment_of, handoff_of

PROMPT = tuple(range(8))
WHERE = {
    "prefill": Whereabouts(url="http://10.0.0.1:20002", log=None),
    "decode": Whereabouts(url="http://10.0.0.2:20012", log="/logs/decode_dp.log"),
}


def environment(**load: Any) -> Environment:
    fake = environment_of()
    settings = {"requests": 10, "over_s": 1.0, "max_tokens": 4, **load}
    return fake.model_copy(update={"load": fake.load.model_copy(update=settings)})


def hop(member: str, begin_s: float, end_s: float, **outcome: Any) -> Hop:
    return Hop(member=member, sent={"x": 1}, started_s=begin_s, ended_s=end_s, **outcome)


def answered(*, prefill_s: float = 0.1, decode_s: float = 0.3) -> Handoff:
    request = Request.tokens(PROMPT, max_tokens=4)
    answer = replace(Model().answer(request), raw={"id": "cmpl-mine-0"})
    return handoff_of(
        request,
        answer,
        prefill=hop("prefill", 0.0, prefill_s, answer=answer),
        decode=hop("decode", prefill_s, prefill_s + decode_s, answer=answer),
    )


def failed(ending: Ending, error: RequestFailed) -> Handoff:
    good = answered()
    if ending is Ending.PREFILL_FAILED:
        return replace(good, ending=ending, prefill=hop("prefill", 0, 0.1, error=error), decode=None)
    return replace(good, ending=ending, decode=hop("decode", 0.1, 0.4, error=error))


def call(member: str = "decode") -> Call:
    return Call(member=member, method="POST", url=WHERE[member].url, timeout_s=30)


def looks(*at_s: float, ranks: int = 1, late_s: float = 0.0) -> list[Look]:
    readings = [
        RankReading(rank=str(rank), usage=0.5, tokens=80.0 + rank, running=2, waiting=1)
        for rank in range(ranks)
    ]
    return [Look(due_s=at - late_s, asked_s=at, seen_s=at, readings=readings) for at in at_s]


def load_of(
    *handoffs: Handoff,
    counts: Counts | None = None,
    settings: Mapping[str, Any] | None = None,
    late_s: float = 0.0,
    seen: Sequence[Look] = (),
) -> ClientLoad:
    """Ten requests, a tenth of a second apart, of which the last are as given."""
    described = environment(**(settings or {}))
    them = [*[answered()] * (10 - len(handoffs)), *handoffs]
    moved = {"moved": 80, "cached": 0, "computed": 0, "bytes": 20 * BLOCK_BYTES, "failures": 0}
    return ClientLoad(
        environment=described,
        contract=NIXL,
        plan=planned(described),
        launched=tuple(
            Launched(
                number=number,
                planned_s=number / 10,
                started_s=number / 10 + late_s,
                ended_s=number / 10 + 0.4,
                result=one,
            )
            for number, one in enumerate(them)
        ),
        series={"decode": Series(source="http://10.0.0.2:20012/metrics", looks=[*seen])},
        window=decode_window({**moved, **(counts or {})}),
        watched_s=2.0,
        block_bytes=BLOCK_BYTES,
    )


def only(findings: list[Finding]) -> Finding:
    [finding] = findings
    return finding


def ruled(load: ClientLoad, ask: Callable[[ClientFindings], list[Finding]]) -> Finding:
    return only(ask(ClientFindings(load, WHERE)))


FRESH = looks(0.0, 0.5, 1.0, 1.5, 2.0)


def test_a_good_load_passes_everything() -> None:
    findings = ClientFindings(load_of(seen=FRESH), WHERE)
    them = [
        *findings.answered(),
        *findings.named(),
        *findings.transferred(),
        *findings.in_time(),
        *findings.put_on(),
        *findings.fresh(),
    ]
    assert [finding.ruling for finding in them] == [Ruling.PASS] * 6
    assert findings.spread() == [], "one rank has nobody to share with"


def test_numbers_are_those_that_the_mission_reports() -> None:
    numbers = load_of(failed(Ending.DECODE_FAILED, HttpStatusError(call(), status=500, body=""))).numbers()
    assert numbers["success_rate"] == 0.9
    assert numbers["total_mean_s"] == pytest.approx(0.4)
    assert numbers["prefill_mean_s"] == pytest.approx(0.1)
    assert numbers["decode_mean_s"] == pytest.approx(0.3)
    assert numbers["prefill_share"] == pytest.approx(0.25)
    assert numbers["decode_share"] == pytest.approx(0.75)
    assert numbers["requests_per_s"] == pytest.approx(10)
    assert numbers["answers_per_s"] == pytest.approx(9 / 1.3)
    assert numbers["kv_transfer_rate"] == 1.0


BY_ERROR = [
    (Ending.PREFILL_FAILED, HttpStatusError(call("prefill"), status=500, body="boom"), "prefill", "prefill"),
    (Ending.DECODE_FAILED, HttpStatusError(call(), status=503, body="busy"), "decode", "decode"),
    (Ending.DECODE_FAILED, HttpStatusError(call(), status=404, body="no model"), "deployment", "decode"),
    (Ending.DECODE_FAILED, HttpStatusError(call(), status=429, body="later"), "decode", "decode"),
    (Ending.DECODE_FAILED, RequestTimedOut(call()), "decode", "decode"),
    (Ending.DECODE_FAILED, Unreachable(call(), reason="ConnectError: refused"), "deployment", "decode"),
    (Ending.DECODE_FAILED, Unreachable(call(), reason="ReadError: reset by peer"), "network", "decode"),
    (Ending.DECODE_FAILED, BrokenStream(call(), reason="cut", status=200, body=""), "network", "decode"),
    (Ending.PREFILL_FAILED, MemberGone(call("prefill"), how="signal 9"), "deployment", "prefill"),
]


@pytest.mark.parametrize(("ending", "error", "place", "member"), BY_ERROR)
def test_failed_requests_say_where_to_look(
    ending: Ending, error: RequestFailed, place: str, member: str
) -> None:
    finding = ruled(load_of(failed(ending, error)), ClientFindings.answered)
    assert finding.ruling is Ruling.FAIL
    assert "9 of 10 requests were answered, more than 95% must" in finding.text
    assert f"look at {place}: 1 of 10 requests" in finding.text
    assert f"{member} at {WHERE[member].url}" in finding.text


def test_a_log_that_is_known_is_named_and_one_that_is_not_is_not_invented() -> None:
    error = HttpStatusError(call(), status=500, body="boom")
    finding = ruled(load_of(failed(Ending.DECODE_FAILED, error)), ClientFindings.answered)
    assert "log /logs/decode_dp.log" in finding.text
    error = HttpStatusError(call("prefill"), status=500, body="boom")
    finding = ruled(load_of(failed(Ending.PREFILL_FAILED, error)), ClientFindings.answered)
    assert "its log is where it was started" in finding.text


def test_the_most_frequent_reason_comes_first() -> None:
    refused = failed(Ending.DECODE_FAILED, Unreachable(call(), reason="ConnectError: refused"))
    slow = failed(Ending.PREFILL_FAILED, RequestTimedOut(call("prefill")))
    text = ruled(load_of(refused, slow, slow), ClientFindings.answered).text
    assert text.index("look at prefill: 2 of 10") < text.index("look at deployment: 1 of 10")


def test_all_answered_satisfies_also_who_asks_for_more_than_all() -> None:
    load = load_of()
    limits = load.environment.thresholds.client.model_copy(update={"success_rate": 1.0})
    thresholds = load.environment.thresholds.model_copy(update={"client": limits})
    strict = replace(load, environment=load.environment.model_copy(update={"thresholds": thresholds}))
    assert ruled(strict, ClientFindings.answered).ruling is Ruling.PASS


def test_status_200_without_a_transfer_fails_and_blames_decode() -> None:
    """What was computed anew gives the right answer."""
    load = load_of(counts={"moved": 72, "computed": 8})
    finding = ruled(load, ClientFindings.transferred)
    assert load.success_rate == 1.0
    assert finding.ruling is Ruling.FAIL
    assert "90.0%, 100% or more must be" in finding.text
    assert "look at decode: 72 tokens came from prefill where the prompts make 80" in finding.text
    assert "counter vllm:prompt_tokens_by_source{source=external_kv_transfer}" in finding.text


def test_bytes_that_did_not_move_count_although_tokens_were_promised() -> None:
    assert load_of(counts={"bytes": 15 * BLOCK_BYTES}).transfer.rate == 0.75


def test_failed_transfers_blame_the_network_between_the_two() -> None:
    finding = ruled(load_of(counts={"failures": 2}), ClientFindings.transferred)
    assert finding.ruling is Ruling.FAIL
    assert "80.0%" in finding.text
    assert "look at network: 2 failures were counted" in finding.text
    assert "prefill at http://10.0.0.1:20002" in finding.text
    assert "decode at http://10.0.0.2:20012" in finding.text
    assert "counter vllm:nixl_num_failed_transfers on decode" in finding.text


def test_a_decode_leg_that_failed_with_its_transfer_blames_the_network() -> None:
    error = HttpStatusError(call(), status=500, body="KV load failed")
    load = load_of(failed(Ending.DECODE_FAILED, error), counts={"moved": 72, "failures": 1})
    assert "look at network" in ruled(load, ClientFindings.answered).text
    assert load.transfer.rate == 0.9


def test_parameters_that_break_the_contract_blame_prefill() -> None:
    breach = Breach(leg=Leg.FROM_PREFILL, field="kv_transfer_params", expected="an object", seen="none")
    broken = replace(answered(), reviews=(Review(leg=Leg.FROM_PREFILL, breaches=(breach,)),))
    finding = ruled(load_of(broken, broken), ClientFindings.transferred)
    assert finding.ruling is Ruling.FAIL
    assert (
        "look at prefill: 2 times answer of prefill: kv_transfer_params: expected an object" in finding.text
    )


def test_a_prefill_that_failed_owes_no_transfer() -> None:
    error = HttpStatusError(call("prefill"), status=500, body="")
    load = load_of(failed(Ending.PREFILL_FAILED, error), counts={"moved": 72, "bytes": 18 * BLOCK_BYTES})
    assert (load.transfer.due, load.transfer.rate) == (9, 1.0)


def test_counters_that_are_not_there_decide_nothing() -> None:
    load = load_of()
    blind = replace(load, window=decode_window({}, {}))
    finding = ruled(blind, ClientFindings.transferred)
    assert finding.ruling is Ruling.INCONCLUSIVE
    assert "decode does not export vllm:prompt_tokens_by_source" in finding.text


def test_a_slow_phase_is_named_with_what_waited() -> None:
    slow = [answered(prefill_s=1.0, decode_s=9.0)] * 10
    finding = ruled(load_of(*slow, seen=looks(0, 1, 2)), ClientFindings.in_time)
    assert finding.ruling is Ruling.FAIL
    assert "10.00 s, less than 5 s is allowed" in finding.text
    assert "look at decode: 90% of the time is decode; 1.0 waited on decode" in finding.text
    slow = [answered(prefill_s=9.0, decode_s=1.0)] * 10
    assert "look at prefill" in ruled(load_of(*slow), ClientFindings.in_time).text


def test_without_any_answer_latency_fails_too() -> None:
    refused = failed(Ending.DECODE_FAILED, Unreachable(call(), reason="ConnectError: refused"))
    finding = ruled(load_of(*[refused] * 10), ClientFindings.in_time)
    assert (finding.ruling, "look at deployment" in finding.text) == (Ruling.FAIL, True)


def test_a_client_that_is_late_decides_nothing_about_the_rate() -> None:
    assert ruled(load_of(late_s=0.05), ClientFindings.put_on).ruling is Ruling.PASS
    finding = ruled(load_of(late_s=0.6), ClientFindings.put_on)
    assert finding.ruling is Ruling.INCONCLUSIVE
    assert "0.60 s late" in finding.text


def test_a_load_that_asks_for_too_little_fails() -> None:
    finding = ruled(load_of(settings={"over_s": 2.0}), ClientFindings.put_on)
    assert finding.ruling is Ruling.FAIL
    assert "5.00 requests/s arrived, 10 or more must; load: 10 requests over 2 s" in finding.text


def test_old_statistics_fail_and_say_what_was_looked_at() -> None:
    finding = ruled(load_of(seen=looks(0.0, 0.5)), ClientFindings.fresh)
    assert finding.ruling is Ruling.FAIL
    assert "up to 1.50 s old, 1 s is allowed" in finding.text
    assert "look at decode: 2 looks at http://10.0.0.2:20012/metrics" in finding.text


def test_statistics_that_never_came_blame_the_deployment() -> None:
    load = load_of()
    load.series["decode"].problems.append("0.0 s: there is no file decode_dp.log")
    finding = ruled(load, ClientFindings.fresh)
    assert finding.ruling is Ruling.FAIL
    assert "look at deployment" in finding.text
    assert "there is no file decode_dp.log" in finding.text


def test_times_that_may_be_the_clients_own_decide_nothing() -> None:
    finding = ruled(load_of(seen=looks(0.0, 1.3, 2.0, late_s=0.7)), ClientFindings.fresh)
    assert finding.ruling is Ruling.INCONCLUSIVE
    assert "0.70 s late" in finding.text
    finding = ruled(load_of(seen=looks(0.0, 1.3, 2.0, late_s=0.1)), ClientFindings.fresh)
    assert finding.ruling is Ruling.FAIL


def test_a_source_that_is_silent_when_idle_is_not_old_then() -> None:
    load = replace(load_of(seen=looks(0.5, 1.0)), watched_s=9.0)
    assert ruled(load, ClientFindings.fresh).ruling is Ruling.FAIL
    silent = Series(source="decode_dp.log", silent_when_idle=True, looks=load.series["decode"].looks)
    assert ruled(replace(load, series={"decode": silent}), ClientFindings.fresh).ruling is Ruling.PASS


def test_an_answer_under_another_id_is_found() -> None:
    strange = answered()
    assert strange.decode is not None
    assert isinstance(strange.decode.answer, Answer)
    other = replace(strange.decode, answer=replace(strange.decode.answer, raw={"id": "cmpl-other"}))
    finding = ruled(load_of(replace(strange, decode=other)), ClientFindings.named)
    assert finding.ruling is Ruling.FAIL
    assert "decode answered cmpl-other to mine" in finding.text


def test_where_nobody_answered_no_id_was_seen() -> None:
    refused = failed(Ending.DECODE_FAILED, Unreachable(call(), reason="ConnectError: refused"))
    finding = ruled(load_of(*[refused] * 10), ClientFindings.named)
    assert finding.ruling is Ruling.INCONCLUSIVE


def test_a_load_that_tells_nothing_of_ranks_is_inconclusive() -> None:
    finding = ruled(load_of(seen=looks(0.5, 1.0, ranks=2)), ClientFindings.spread)
    assert finding.ruling is Ruling.INCONCLUSIVE
    assert "do not tell by KV length from by count" in finding.text


def test_the_table_fits_into_80_columns_and_says_it_all() -> None:
    shown = report.table(load_of(seen=looks(0.1, 0.5, 1.0, 1.5, ranks=4)))
    assert max(map(len, shown.splitlines())) <= 80
    for said in (
        "fake: 10 requests over 1 s",
        "success rate",
        "100.0%",
        "KV-transfer success rate",
        "mean latency",
        "0.40 s",
        "requests/s",
        "age of KV statistics",
        "prefill",
        "25.0%",
        "decode: KV",
        "rank 3",
        "83 (3)",
        "max/mean",
    ):
        assert said in shown, said


def test_the_file_has_every_request_and_every_look() -> None:
    error = HttpStatusError(call(), status=500, body="boom")
    written = report.as_json(load_of(failed(Ending.DECODE_FAILED, error), seen=looks(0.1, 0.5, ranks=2)))
    assert len(written["requests"]) == 10
    assert written["requests"][-1]["ending"] == "decode failed"
    assert "answered 500" in written["requests"][-1]["error"]
    assert written["kv"]["decode"]["looks"][1]["ranks"]["1"]["kv_tokens"] == 81.0
    assert written["numbers"]["answered"] == 9
    assert written["thresholds"]["mean_latency_s"] == 5.0
