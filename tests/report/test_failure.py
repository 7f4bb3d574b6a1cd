from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pdtest.client.handoff import Ending, Handoff, Route
from pdtest.cluster.cluster import Cluster
from pdtest.oracle.verdict import Finding, Ruling, Verdict
from pdtest.report.failure import Failure

from .conftest import ClusterOf, by_client, hop

METRICS = 'INFO:     127.0.0.1:58672 - "GET /metrics HTTP/1.1" 200 OK'
HEALTH = 'INFO:     127.0.0.1:58672 - "GET /health HTTP/1.1" 200 OK'


@pytest.fixture
def pair(cluster_of: ClusterOf) -> Cluster:
    return cluster_of({role: {"role": role, "url": f"http://{role}:8000"} for role in ("prefill", "decode")})


def section(  # noqa: PLR0913 - what a failure is made of
    pair: Cluster,
    root: Path,
    *,
    handoffs: Iterable[Handoff] = (),
    verdicts: Iterable[Verdict] = (),
    before: str = "",
    logged: str = "",
) -> list[str]:
    """The section of a test during which decode's log went on from ``before`` with ``logged``."""
    log = pair.members["decode"].log
    log.path.write_text(before)
    marks = {name: member.log.mark() for name, member in pair.members.items()}
    log.path.write_text(before + logged)
    failure = Failure(
        test="test_x", cluster=pair, handoffs=list(handoffs), verdicts=list(verdicts), marks=marks
    )
    return failure.write(root).splitlines()


def verdict(ruling: Ruling, *findings: tuple[str, Ruling, str]) -> Verdict:
    return Verdict(
        claim="equal to colocated",
        ruling=ruling,
        findings=tuple(Finding(check=check, ruling=each, text=text) for check, each, text in findings),
    )


@pytest.mark.parametrize("ruling", [Ruling.FAIL, Ruling.INCONCLUSIVE])
def test_a_verdict_shows_what_decided_it_and_nothing_else(
    ruling: Ruling, pair: Cluster, tmp_path: Path
) -> None:
    reached = verdict(
        ruling,
        ("parity", Ruling.PASS, "16 tokens equal"),
        ("evidence", ruling, "0 of 96 tokens moved"),
        ("contract", Ruling.PASS, "3 messages"),
    )
    assert section(pair, tmp_path, verdicts=[reached, verdict(Ruling.PASS)]) == [
        f"{ruling.upper()}: equal to colocated",
        "  evidence: 0 of 96 tokens moved",
    ]


def test_a_handoff_shows_its_id_and_the_parameters_of_both_legs(pair: Cluster, tmp_path: Path) -> None:
    *lines, replay = section(pair, tmp_path, handoffs=[by_client()])
    params = '{"do_remote_prefill": true, "remote_block_ids": [[1, 2]], "remote_engine_id": "old"}'
    assert lines == [
        "handoff id-1 by client: answered",
        "  prefill prefill after 0.250 s: 3 -> 16 tokens",
        '    sent: {"do_remote_decode": true}',
        f"    answered: {params}",
        "  decode decode after 0.250 s: 3 -> 16 tokens",
        f"    sent: {params}",
    ]
    assert replay == f"replay: {tmp_path}/repro/test_x/replay.sh"
    assert (tmp_path / "repro/test_x/replay.sh").exists()


def test_a_request_that_failed_shows_its_error_in_full(pair: Cluster, tmp_path: Path) -> None:
    handoff = by_client(
        decode=hop("decode", sent={"remote_block_ids": [[2, 1]]}, error=500),
        ending=Ending.DECODE_FAILED,
        tampered=True,
    )
    lines = section(pair, tmp_path, handoffs=[handoff])
    assert lines[0] == "handoff id-1 by client: decode failed, parameters falsified on purpose"
    assert lines[4:11] == [
        "  decode decode after 0.250 s: HTTP error: 'decode' answered 500",
        "      where    POST http://decode/v1/completions (member decode)",
        "      expected status 200",
        "      seen     engine is dead",
        "      next     read the log of 'decode' at this time",
        '    sent: {"remote_block_ids": [[2, 1]]}',
        f"replay: {tmp_path}/repro/test_x/replay.sh",
    ]


def test_through_a_proxy_there_is_one_hop(pair: Cluster, tmp_path: Path) -> None:
    handoff = by_client(route=Route.PROXY, prefill=None, decode=None, proxy=hop("router"))
    pair._members["router"] = pair.members["decode"]
    assert section(pair, tmp_path, handoffs=[handoff])[:2] == [
        "handoff id-1 by proxy: answered",
        "  proxy router after 0.250 s: 3 -> 16 tokens",
    ]


def test_failed_handoffs_come_first_then_those_the_verdict_names(pair: Cluster, tmp_path: Path) -> None:
    handoffs = [by_client(request_id=f"id-{number}") for number in range(6)]
    handoffs[5] = by_client(request_id="id-5", decode=hop("decode", error=500), ending=Ending.DECODE_FAILED)
    reached = verdict(
        Ruling.FAIL, ("parity", Ruling.FAIL, "id-3: token 7"), ("parity", Ruling.PASS, "id-4: equal")
    )
    lines = section(pair, tmp_path, handoffs=handoffs, verdicts=[reached])
    shown = [line.split()[1] for line in lines if line.startswith("handoff ")]
    assert shown == ["id-5", "id-3", "id-0", "id-1"]
    assert "... and 2 more handoffs, see events.jsonl" in lines


def test_the_log_shows_what_was_written_during_the_test(pair: Cluster, tmp_path: Path) -> None:
    lines = section(pair, tmp_path, before="earlier\n", logged="now\n\nand then\n")
    assert lines == ["log of decode during the test:", "  | now", "  | and then"]


def test_of_a_long_log_the_end_is_shown_and_where_the_rest_is(pair: Cluster, tmp_path: Path) -> None:
    lines = section(pair, tmp_path, logged="".join(f"line {number}\n" for number in range(40)))
    assert lines == [
        "log of decode during the test (last 15 of 40 lines):",
        *(f"  | line {number}" for number in range(25, 40)),
        f"  all of it: {pair.members['decode'].log.path}",
    ]


def test_polls_of_pdtest_itself_are_left_out_and_counted(pair: Cluster, tmp_path: Path) -> None:
    failing = METRICS.replace("200 OK", "500 Internal Server Error")
    asked = HEALTH.replace("GET /health", "POST /v1/completions")
    logged = "\n".join([METRICS, HEALTH, failing, *[METRICS] * 20, asked, ""])
    assert section(pair, tmp_path, logged=logged) == [
        "log of decode during the test (without 22 of pdtest's own polls):",
        f"  | {failing}",
        f"  | {asked}",
    ]


def test_a_log_of_nothing_but_polls_is_not_shown(pair: Cluster, tmp_path: Path) -> None:
    assert section(pair, tmp_path, logged=f"{METRICS}\n") == []


def test_the_probe_of_the_member_s_service_is_a_poll_too(cluster_of: ClusterOf, tmp_path: Path) -> None:
    settings = {"service": "command", "url": "http://x:1", "options": {"ready_path": "/up?deep=1"}}
    pair = cluster_of({"decode": {"role": "decode"} | settings})
    logged = "\n".join([HEALTH.replace("/health", "/up?deep=1"), HEALTH, METRICS, "more", ""])
    assert section(pair, tmp_path, logged=logged) == [
        "log of decode during the test (without 3 of pdtest's own polls):",
        "  | more",
    ]


def test_a_failure_that_the_log_has_known_since_the_start_is_named(pair: Cluster, tmp_path: Path) -> None:
    line = "zmq.error.ZMQError: Address already in use (addr='tcp://127.0.0.1:18555')"
    lines = section(pair, tmp_path, before=f"Exception in thread nixl_handshake_listener:\n{line}\n")
    assert lines[0].startswith(
        "the log of decode shows side-channel port taken: a port for KV (NIXL's side channel"
    )
    assert lines[-1] == f"  | {line}"


def test_only_json_is_wider_than_120_columns(pair: Cluster, tmp_path: Path) -> None:
    wide: dict[str, Any] = {"remote_block_ids": [list(range(100))]}
    handoff = by_client(
        prefill=hop("prefill", sent=wide), decode=hop("decode", error=500), ending=Ending.DECODE_FAILED
    )
    reached = verdict(Ruling.FAIL, ("parity", Ruling.FAIL, "a token is wrong and " * 30 + "\n" + "x" * 300))
    lines = section(
        pair, tmp_path, handoffs=[handoff], verdicts=[reached], logged="INFO " + "argument, " * 200 + "\n"
    )
    assert [line[:10] for line in lines if len(line) > 120 and not line.startswith("replay")] == [
        "    sent: "
    ]


def test_a_test_that_sent_nothing_has_no_replay(pair: Cluster, tmp_path: Path) -> None:
    assert section(pair, tmp_path) == []
    assert not (tmp_path / "repro").exists()
