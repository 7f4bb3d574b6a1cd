"""The fixture `loads` on a running stack: what passes, what does not, and what is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pdtest.results import read_exchanges, read_monitor, read_results

ROOT = Path(__file__).parents[2]

ENVIRONMENT = f"""
extends: {ROOT / "environments" / "embedded.yaml"}
workloads:
  default:
    arrivals: {{pattern: constant, rate: 20}}
    prompt: {{shape: fixed, tokens: 40}}
    answer: {{shape: fixed, tokens: 4}}
    requests: 8
    warm_up: 1
    client: {{loop_lag_p99_s: 5, schedule_lag_p99_s: 5}}
performance:
  runs: 2
  take_turns: true
  slo: {{ttft_s: 30}}
thresholds:
  performance:
    goodput_share: {{at_least: 1}}
    ttft_mean: {{at_most: 30}}
"""

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

TESTS = """
import dataclasses

from pdtest.environment.performance import Limit
from pdtest.environment.workload import ClientLimits
from pdtest.load.way import Way
from pdtest.oracle.load_findings import limits_of, load_findings, served
from pdtest.oracle.side import PD, SINGLE, target_of


def test_limits_are_kept(loads, rule):
    sides = loads.side_by_side(SINGLE, PD)
    assert sides[PD] == loads.runs()
    thresholds = loads.environment.thresholds
    served_alone = load_findings(sides[SINGLE], served(thresholds, apart=False))
    rule("kept", [*served_alone, *load_findings(loads.runs(), limits_of(thresholds, apart=True))])


def test_broken_limit(loads, rule):
    rule("impossible", load_findings(loads.runs(), {"ttft_mean": Limit(at_most=1e-6)}))


def test_bound_client(loads, rule):
    tight = loads.workload.model_copy(update={"client": ClientLimits(schedule_lag_p99_s=1e-9)})
    result = loads.put("tight", tight, loads.sides[PD])
    rule("quick", load_findings([result], {"ttft_mean": Limit(at_most=30)}))


def test_decode_computes_all_itself(loads, rule):
    side, decode = loads.sides[PD], loads.cluster.members["decode"]
    alone = dataclasses.replace(side, ways=(Way(answers=target_of(loads.cluster, decode)),))
    result = loads.put("alone", loads.workload, alone)
    rule("moved", load_findings([result], served(loads.environment.thresholds, apart=True)))


def test_told(loads):
    loads.tell({"knee_requests_per_s": 7.5}, "sweep")
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run's directory and the output."""
    home = tmp_path_factory.mktemp("performance")
    (home / "mine.yaml").write_text(ENVIRONMENT, encoding="utf-8")
    (home / "test_it.py").write_text(TESTS, encoding="utf-8")
    (home / "pytest.ini").write_text(INI, encoding="utf-8")
    words = [
        "--env=mine.yaml",
        f"--pdtest-dir={home / 'kept'}",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=home,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    return (home / "kept" / "runs" / "latest").resolve(), done.stdout


def test_good_runs_pass_and_bad_ones_do_not(finished: tuple[Path, str]) -> None:
    verdicts = {
        one["test"].partition("::")[2]: one for one in json.loads((finished[0] / "verdicts.json").read_text())
    }
    rulings = {name.partition("[")[0]: one["ruling"] for name, one in verdicts.items()}

    assert rulings == {
        "test_limits_are_kept": "pass",
        "test_broken_limit": "fail",
        "test_bound_client": "inconclusive",
        "test_decode_computes_all_itself": "fail",
    }
    moved = verdicts["test_decode_computes_all_itself[mine]"]["findings"]
    assert {one["check"]: one["ruling"] for one in moved} == {
        "success_rate": "pass",
        "kv_transfer_success_rate": "fail",
    }


def test_each_load_leaves_its_files(finished: tuple[Path, str]) -> None:
    results = [*read_results(finished[0])]

    # Measured once for all tests, and the sides in turn.
    assert [one.label for _, one in results] == [
        *("default-single-0", "default-pd-0", "default-pd-1", "default-single-1"),
        *("tight-pd-0", "alone-pd-0"),
    ]
    folder, first = results[1]
    assert len([*read_exchanges(folder)]) == 8
    assert {read_monitor(folder, name).kind for name in first.monitors} >= {"cpu", "member"}
    assert json.loads((folder / "vllm-bench.json").read_text())["completed"] == 8
    assert first.build["prefill"]
    assert first.conditions["workload"]["name"] == "default"
    prints = [one.fingerprint for _, one in results]
    assert prints[0] == prints[3]
    assert prints[1] == prints[2]
    assert len({*prints}) == 4


def test_servers_tell_of_the_load_and_not_of_its_warm_up(finished: tuple[Path, str]) -> None:
    first = next(one for _, one in read_results(finished[0]) if one.target == "pd")
    measures = {one.name: one for one in first.measures}

    assert measures["kv_transfer_success_rate"].value == 1
    # 40 tokens are 3 blocks of 16.
    one_prompt = measures["kv_transfer_bytes_mean"].value
    assert one_prompt is not None
    assert one_prompt % 3 == 0
    assert measures["kv_transfer_bytes"].value == 8 * one_prompt
    for phase in ("queue", "prefill", "transfer", "decode"):
        value = measures[f"phase_{phase}_mean"].value
        assert value is not None
        assert value >= 0


def test_sides_that_share_devices_take_turns(finished: tuple[Path, str]) -> None:
    """The single instance is measured while prefill and decode are stopped, and the other way round."""
    told = [json.loads(line) for line in (finished[0] / "events.jsonl").read_text().splitlines()]
    running, seen = set[str](), []
    for one in told:
        if one["kind"] == "MemberReady":
            running.add(one["member"])
        elif one["kind"] == "MemberStopped":
            running.discard(one["member"])
        elif one["kind"] == "LoadMeasured" and "default" in one["file"]:
            seen.append((one["file"].split("/")[2], frozenset(running)))

    pair = frozenset({"prefill", "decode", "proxy"})
    assert seen == [
        ("default-single-0", frozenset({"colocated"})),
        ("default-pd-0", pair),
        ("default-pd-1", pair),
        ("default-single-1", frozenset({"colocated"})),
    ]


def test_numbers_reach_events_and_junit(finished: tuple[Path, str]) -> None:
    directory, output = finished
    told = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    measured = [one for one in told if one["kind"] == "LoadMeasured"]

    assert len(measured) == 7
    assert measured[0]["file"] == "mine/loads/default-single-0/result.json"
    assert (directory / measured[0]["file"]).is_file()
    assert measured[0]["numbers"]["default-single-0.success_rate"] == 1
    junit = (directory / "junit.xml").read_text()
    assert '<property name="knee_requests_per_s" value="7.5"' in junit
    assert '<property name="default-pd-0.ttft_mean"' in junit
    assert "default-pd-1: " in output
