from __future__ import annotations

import html
import os
import shutil
from pathlib import Path

import pytest

from pdtest.events import Event, Journal, TestEnded
from pdtest.report.account import Account, NotARun, read_account
from pdtest.report.account.journey import Journey, Span, of_exchange
from pdtest.report.page.page import render
from pdtest.report.page.pull_request import pull_request
from pdtest.results import Exchange, Piece

from .conftest import ENVIRONMENT, LATE, RATES, T0, WRONG, sent


@pytest.fixture(scope="module")
def account(run: Path) -> Account:
    return read_account(run)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match=r"no events\.jsonl in it"):
        read_account(tmp_path)


def test_the_worst_outcome_is_that_of_the_run(account: Account) -> None:
    assert account.verdict == "failed"
    assert account.outcomes == {"passed": 30, "failed": 1, "inconclusive": 1}
    assert [test.test for test in account.pressing] == [WRONG, LATE]
    passed = account.model_copy(update={"outcomes": {"passed": 30}, "kills": None})
    assert passed.verdict == "passed"
    assert passed.model_copy(update={"kills": account.kills}).verdict == "failed"
    assert (
        account.model_copy(update={"outcomes": {"unschedulable": 2, "passed": 1}}).verdict == "unschedulable"
    )


def test_a_run_that_broke_off_is_interrupted(run: Path, tmp_path: Path) -> None:
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()[:20]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + '\n{"kind": "Run', encoding="utf-8")
    account = read_account(tmp_path)
    assert account.verdict == "interrupted"
    assert account.session.took_s is None


def test_a_test_has_its_verdict_requests_and_pictures(account: Account) -> None:
    wrong = account.pressing[0]
    (claim,) = wrong.claims
    assert [finding.check for finding in claim.decisive] == ["parity"]
    assert len(wrong.journeys) == 6
    assert [span.phase for span in wrong.journeys[0].spans] == ["prefill", "transfer", "decode"]
    assert wrong.journeys[0].spans[1].to_s - wrong.journeys[0].spans[1].from_s == pytest.approx(0.19)
    assert wrong.pictures == (f"{ENVIRONMENT}/xray/1.png",)
    assert wrong.replay is not None
    assert account.tests[0].journeys == ()


def test_what_befell_members_meanwhile_is_marked(account: Account) -> None:
    late = account.pressing[1]
    assert [mark.kind for mark in late.marks] == ["armed", "died", "restarted", "ready", "lifted", "armed"]
    assert [journey.ok for journey in late.journeys] == [False, True]
    assert late.journeys[0].said == "MemberDiedWaiting"


def test_each_start_of_a_member_is_a_spell(account: Account) -> None:
    lives = {life.member: life for life in account.members}
    assert [spell.ended for spell in lives["decode"].spells] == ["died", "stopped"]
    assert lives["decode"].spells[0].diagnosis == "killed from outside"
    assert [spell.ended for spell in lives["prefill"].spells] == ["stopped"]
    assert lives["prefill"].last_look == "KV in use: 0.25"
    assert lives["prefill"].log.endswith("INFO line 99 of prefill <tag>")
    assert f"{ENVIRONMENT}/members/prefill/command.sh" in lives["prefill"].files


def test_a_fault_that_nobody_saw_is_told_apart(account: Account) -> None:
    kill, cut = account.breaks
    assert (kill.seen, kill.lasted_s) == ("4711 ended", 5.0)
    assert (cut.seen, cut.lasted_s) == (None, None)
    assert [recovery.took_s for recovery in account.recoveries] == [7.54, 1.2]


def test_loads_are_reduced_but_keep_what_failed(account: Account) -> None:
    assert len(account.loads) == 2 * (2 + len(RATES) - 1) + 1
    load = account.loads[0]
    assert load.requests == 110
    assert len(load.journeys) <= 64
    assert sum(not journey.ok for journey in load.journeys) == sum(load.errors.values()) == 2
    assert {one.name for one in load.distributions} == {"ttft", "tbt", "tpot", "e2e"}
    assert load.monitors[3].missing == {"*": "no leave to read /sys/class/powercap"}
    assert account.comparisons[0].target == "pd"


def test_a_load_that_the_client_led_is_one_of_them(account: Account) -> None:
    load = account.loads[-1]
    assert (load.label, load.requests, load.errors) == ("client-load", 10, {"status 500: engine is dead": 1})
    assert {one.name: one.unit for one in load.measures} == {
        "success_rate": "1",
        "total_mean_s": "s",
        "requests_per_s": "",
        "statistics_age_s": "s",
    }
    assert [monitor.name for monitor in load.monitors] == ["decode, rank 0", "decode, rank 1"]
    assert [one.name for one in load.monitors[0].quantities] == ["kv_usage", "running", "waiting"]
    assert [span.phase for span in load.journeys[1].spans] == ["waiting", "prefill", "decode"]
    assert load.in_flight[-1][1] == 0


def test_members_of_others_are_told_with_their_drift(account: Account) -> None:
    (router,) = account.attached
    assert (router.url, router.version) == ("http://gpu-9:8000", "0.1.16")
    assert router.drifts == ("version: 0.1.16, the environment has 0.1.15",)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """The run, elsewhere."""
    return Path(shutil.copytree(run, tmp_path / run.name))


def test_a_run_may_lie_elsewhere_later(copy: Path, account: Account) -> None:
    assert read_account(copy) == account


@pytest.mark.parametrize(
    ("file", "part"),
    [
        pytest.param("environment.resolved.yaml", "environments", id="environment"),
        pytest.param("comparison-pd.json", "comparisons", id="comparison"),
        pytest.param("topologies.json", "topologies", id="topologies"),
        pytest.param("../kills.json", "kills", id="kills"),
        pytest.param("client-load.json", "loads", id="client-load"),
        pytest.param("loads/default-pd-0/result.json", "loads", id="result"),
        pytest.param("loads/default-pd-0/requests.jsonl", "loads", id="requests"),
    ],
)
@pytest.mark.parametrize("left", [b"[1]", b"{[\0"], ids=["another", "damaged"])
def test_what_cannot_be_read_is_named_and_the_rest_is_told(
    copy: Path, account: Account, file: str, part: str, left: bytes
) -> None:
    (copy / ENVIRONMENT / file).write_bytes(left)
    told = read_account(copy)
    (unreadable,) = told.unreadable
    assert unreadable.file == os.path.normpath(
        f"{ENVIRONMENT}/{file}".replace("requests.jsonl", "result.json")
    )
    changed = {name for name in Account.model_fields if getattr(told, name) != getattr(account, name)}
    assert changed == {part, "unreadable"}
    notice = f"could not be read and is not in this report: {unreadable.why}"
    assert notice in html.unescape(render(told, copy))
    assert f"`{unreadable.file}` {notice}" in pull_request(told)


def test_the_same_data_comes_back_from_its_json(account: Account) -> None:
    again = Account.model_validate_json(account.model_dump_json())
    assert again.outcomes == account.outcomes
    assert again.loads[0].measures == account.loads[0].measures


def test_phases_end_with_the_first_token() -> None:
    exchange = Exchange(
        number=7, request_id="r", due_s=1.0, sent_s=1.1, first_byte_s=2.0, ended_s=3.0, prompt_tokens=5,
        pieces=(Piece(at_s=2.0, tokens=1, read=0), Piece(at_s=3.0, tokens=1, read=1)), max_tokens=2,
        completion_tokens=2, finish_reason="length", status=200, error=None,
        phases={"queue": 0.2, "prefill": 0.3, "transfer": 0.1},
    )  # fmt: skip
    journey = of_exchange(exchange)
    assert [span.phase for span in journey.spans] == [
        "waiting",
        "waiting",
        "queue",
        "prefill",
        "transfer",
        "decode",
    ]
    assert [round(span.to_s, 6) for span in journey.spans] == [1.1, 1.4, 1.6, 1.9, 2.0, 3.0]
    assert _without_gaps(journey)


def test_phases_longer_than_the_request_are_cut() -> None:
    exchange = Exchange(
        number=7, request_id="r", due_s=None, sent_s=1.0, first_byte_s=1.5, ended_s=2.0, prompt_tokens=5,
        pieces=(Piece(at_s=1.5, tokens=1, read=0),), max_tokens=2, completion_tokens=2,
        finish_reason="length", status=200, error=None, phases={"prefill": 3.0, "transfer": 0.1},
    )  # fmt: skip
    journey = of_exchange(exchange)
    assert journey.spans[0] == Span(phase="prefill", from_s=1.0, to_s=1.4)
    assert _without_gaps(journey)


def test_requests_without_an_end_are_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    for event in events_of_a_hang():
        journal.append(event)
    journal.close()
    (test,) = read_account(tmp_path).tests
    assert [journey.said for journey in test.journeys] == ["no end"]


def events_of_a_hang() -> tuple[Event, ...]:
    ended = TestEnded(at=T0 + 9, test=LATE, environment=ENVIRONMENT, outcome="error", took_s=9.0)
    return (sent(T0 + 1, "decode", "pdtest-1"), ended)


def _without_gaps(journey: Journey) -> bool:
    return all(
        before.to_s == pytest.approx(after.from_s)
        for before, after in zip(journey.spans, journey.spans[1:], strict=False)
    )
