"""The client against a server whose times are known: what it measures is what was."""

from __future__ import annotations

import os
import resource
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import trustme

from pdtest.load.crew import LoadBroken
from pdtest.load.way import Target, Way
from pdtest.results import Exchange
from pdtest.wire.nixl import NixlContract
from tests.load.calibrated import Served, driven, serving, stamps

#: On a machine that does other things, too, half of all may be so late, in so many loads at most.
HICCUP_S = 0.01
_TRIES = 8


def test_the_clients_own_error_is_small(calibration: Served) -> None:
    url = calibration("--ttft", "0.05", "--gap", "0.02")
    for _ in range(_TRIES):
        first, every, late = errors(url)
        assert min(every) > 0, "nothing is seen before it was sent"
        assert min(late) > -0.002, "nothing is sent before its time"
        if max(map(statistics.median, (first, every, late))) < HICCUP_S:
            return
    pytest.fail(
        f"medians: first event, every event, sent: {[*map(statistics.median, (first, every, late))]} s"
    )


def errors(url: str) -> tuple[list[float], list[float], list[float]]:
    """How much later first events and all events were seen than written, and requests sent than due."""
    load = driven(url, arrivals={"pattern": "poisson", "rate": 100}, requests=100, warm_up=4)
    known = stamps(url)
    first, every = [], []
    for one in load.exchanges:
        assert one.error is None
        written = [at - load.begun_monotonic_s for at in known[one.request_id]["written"]]
        assert len(one.pieces) == len(written) == one.completion_tokens == 10
        first.append(one.pieces[0].at_s - written[0])
        every += [piece.at_s - at for piece, at in zip(one.pieces, written, strict=True)]
    return first, every, [one.sent_s - one.scheduled_s for one in load.exchanges]


def test_what_is_recorded_of_a_request(calibration: Served) -> None:
    burst = {"pattern": "burst", "size": 3, "every_s": 1}
    # Far enough apart to be told apart by a client that has to wait for a core.
    load = driven(calibration("--gap", "0.05"), requests=3, arrivals=burst)
    assert [one.number for one in load.exchanges] == [0, 1, 2]
    one = load.exchanges[0]
    assert (one.status, one.finish_reason, one.prompt_tokens, one.max_tokens) == (200, "length", 8, 10)
    assert one.first_byte_s is not None
    assert one.sent_s < one.first_byte_s <= one.pieces[0].at_s < one.pieces[-1].at_s <= one.ended_s
    assert load.lasted_s == max(one.ended_s for one in load.exchanges)
    assert abs(load.begun_unix_s - time.time()) < 60
    assert load.client.processes == 1


def test_events_that_come_in_one_read_are_told_apart(calibration: Served) -> None:
    together = driven(calibration("--together", "5"), requests=4)
    assert 0.8 <= (together.client.coalesced_share or 0) <= 0.9, "two writes of five each, rarely in one read"
    for one in together.exchanges:
        first, last = one.pieces[:5], one.pieces[5:]
        assert len({piece.read for piece in first}) == len({piece.read for piece in last}) == 1
    apart = driven(calibration("--gap", "0.02"), requests=4)
    assert (apart.client.coalesced_share or 0) < 0.5


def test_an_event_without_a_token_is_no_first_token(calibration: Served) -> None:
    load = driven(calibration("--empty-first", "--ttft", "0.2"), requests=2)
    for one in load.exchanges:
        assert len(one.pieces) == 10
        assert one.first_byte_s is not None
        assert one.pieces[0].at_s - one.sent_s >= 0.199
        assert one.first_byte_s < one.pieces[0].at_s


def test_a_closed_loop_keeps_its_concurrency_and_shares_it_between_processes(calibration: Served) -> None:
    load = driven(
        calibration("--ttft", "0.1", "--gap", "0.001"),
        arrivals={"pattern": "closed", "concurrency": 5},
        requests=40,
        processes=2,
    )
    assert len(load.exchanges) == 40
    assert {one.worker for one in load.exchanges} == {0, 1}
    assert load.client.processes == 2
    assert most_under_way(load.exchanges) == 5
    assert load.client.concurrency_wanted == 5
    assert load.client.concurrency_seen == pytest.approx(5, abs=1)
    assert {one.due_s for one in load.exchanges} == {None}


def test_a_closed_loop_ends_after_its_duration(calibration: Served) -> None:
    closed = {"pattern": "closed", "concurrency": 2}
    load = driven(calibration("--ttft", "0.1"), arrivals=closed, requests=1000, duration_s=0.5)
    assert 2 <= len(load.exchanges) < 20
    assert all(one.ok for one in load.exchanges)
    assert max(one.sent_s for one in load.exchanges) < 5


def test_an_answer_that_breaks_off_is_an_error_and_keeps_what_came(calibration: Served) -> None:
    load = driven(calibration("--breaks-after", "4"), requests=2)
    for one in load.exchanges:
        assert one.error == "the server closed the connection"
        assert len(one.pieces) == 4


def test_an_answer_that_takes_too_long_is_given_up(calibration: Served) -> None:
    load = driven(calibration("--ttft", "30"), requests=2, timeout_s=0.3)
    for one in load.exchanges:
        assert one.error == "no complete answer within 0.3 s"
        assert 0.29 < one.ended_s - one.sent_s < 10


def test_more_streams_than_a_shell_allows_files(calibration: Served) -> None:
    """Both the server and the client get their limit from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        load = driven(
            calibration("--ttft", "0.5", "--gap", "0"),
            arrivals={"pattern": "burst", "size": 150, "every_s": 1},
            requests=150,
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [one.error for one in load.exchanges if one.error] == []
    assert most_under_way(load.exchanges) > 100


def test_nobody_there() -> None:
    load = driven("http://127.0.0.1:9", requests=2)
    assert all(one.error and one.error.startswith("no connection: ") for one in load.exchanges)


def test_limits_that_are_crossed_make_it_invalid(calibration: Served) -> None:
    load = driven(calibration(), requests=5, client={"loop_lag_p99_s": 1e-9, "cpu_share": 1e-9})
    lag, cpu = load.client.reasons
    assert "event loop" in lag
    assert "of a core" in cpu
    assert not load.client.valid


def test_behind_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with serving("--certificate", str(tmp_path / "server.pem")) as url:
        assert url.startswith("https:")
        refused = driven(url, requests=1)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        load = driven(url, requests=6)
    assert "certificate" in str(refused.exchanges[0].error).lower()
    for one in load.exchanges:
        assert one.error is None
        assert len(one.pieces) == 10
        assert one.pieces[0].at_s - one.sent_s >= 0.049


def test_a_client_leads_both_legs(calibration: Served) -> None:
    url = calibration("--ttft", "0.1", "--gap", "0.01")
    target = Target(name="engine", url=url, model="m", headers={"Authorization": "Bearer secret"})
    load = driven(Way(answers=target, prefill=target, contract=NixlContract()), requests=3)
    known = stamps(url)
    for one in load.exchanges:
        assert one.error is None
        assert known[one.request_id]["params"] == {"asked": NixlContract().params_for_prefill()}
        assert 0.098 < one.phases["prefill"] < 5
        assert 0.098 < one.phases["transfer"] < 5
        assert 0.05 < one.phases["decode"] < 5
        assert sum(one.phases.values()) <= one.ended_s - one.sent_s


def test_a_way_that_cannot_be_led_is_refused() -> None:
    target = Target(name="engine", url="http://127.0.0.1:9", model="m")
    with pytest.raises(ValueError, match="no contract"):
        Way(answers=target, prefill=target)


def test_a_process_that_dies_breaks_the_load_off_and_ends_the_others(calibration: Served) -> None:
    url = calibration("--ttft", "30")
    before, seen, killed = len(stamps(url)), list[psutil.Process](), list[float]()

    def kill() -> None:
        seen[:] = busy_workers(os.getpid(), url, before)
        seen[1].kill()
        killed.append(time.monotonic())

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(LoadBroken, match="ended with -9"):
        driven(url, requests=4, processes=2)
    killer.join()
    assert time.monotonic() - killed[0] < 20, "the other's answers are not waited for"
    assert not [process for process in seen if process.is_running()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_who_started_it(calibration: Served, number: signal.Signals) -> None:
    program = (
        "import sys; from tests.load.calibrated import driven; driven(sys.argv[1], requests=4, processes=2)"
    )
    url = calibration("--ttft", "30")
    before = len(stamps(url))
    with subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE) as parent:
        processes = busy_workers(parent.pid, url, before)
        parent.send_signal(number)
        _, said = parent.communicate(timeout=30)
    gone, alive = psutil.wait_procs(processes, timeout=20)
    assert not alive
    assert len(gone) == 2
    assert (b"KeyboardInterrupt" in said) == (number is signal.SIGINT)


def busy_workers(pid: int, url: str, before: int) -> list[psutil.Process]:
    """The processes of a load of four requests, once all of these have reached the server."""
    deadline = time.monotonic() + 60
    while len(stamps(url)) < before + 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = psutil.Process(pid).children()
    return [child for child in children if "pdtest.load.worker" in " ".join(child.cmdline())]


def most_under_way(exchanges: tuple[Exchange, ...]) -> int:
    changes = sorted([(one.sent_s, 1) for one in exchanges] + [(one.ended_s, -1) for one in exchanges])
    count = most = 0
    for _, change in changes:
        count += change
        most = max(most, count)
    return most
