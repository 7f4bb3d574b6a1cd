from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pdtest.results import Monitor
from pdtest.telemetry.energy import energy_measures
from pdtest.telemetry.records import FILE
from pdtest.telemetry.settings import Blind, Chip, Engine, Settings
from pdtest.telemetry.telemetry import Telemetry, TelemetryFailed, telemetry

DEADLINE_S = 30.0

#: A process that looks, and whose parent we can end as we like. It says the pid of the one that looks.
PARENT = """
import sys, time
from pdtest.telemetry.settings import Settings
from pdtest.telemetry.telemetry import telemetry
with telemetry(Settings()) as watch:
    print(watch.pid, flush=True)
    time.sleep(60)
"""


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def named(watch: Telemetry, begun_s: float) -> dict[str, Monitor]:
    return {monitor.name: monitor for monitor in watch.monitors(begun_s)}


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_it_looks_as_often_as_it_is_told_and_says_how_often_it_did(tmp_path: Path) -> None:
    with telemetry(Settings(every_s=0.05), directory=tmp_path) as watch:
        begun_s = time.monotonic()
        until(lambda: len(named(watch, begun_s)["cpu"].readings) >= 12, "it does not look")
        took_s = time.monotonic() - begun_s
        cpu = named(watch, begun_s)["cpu"]
    assert cpu.every_s == 0.05
    # Never faster than it was told; slower on a busy machine, and then it says so.
    assert cpu.true_every_s is not None
    assert cpu.true_every_s >= 0.045
    assert cpu.true_every_s == pytest.approx(took_s / len(cpu.readings), rel=0.5)
    assert cpu.cost_cpu_share is not None
    assert 0 < cpu.cost_cpu_share < 1
    assert min(reading.at_s for reading in cpu.readings) >= -0.5


def test_what_is_not_there_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    chips = (
        Chip(kind="nvidia", number=97, members=("prefill",)),
        Chip(kind="ascend", number=0, members=("decode",)),
    )
    blind = (Blind(kind="nvidia", name="devices-of-far", members=("far",), reason="it is on 10.9.8.7"),)
    engines = (Engine(member="decode", url="http://127.0.0.1:1"),)
    settings = Settings(every_s=0.05, engines_every_s=0.05, chips=chips, engines=engines, blind=blind)
    with telemetry(settings, directory=tmp_path) as watch:
        begun_s = time.monotonic()
        until(lambda: "refused" in named(watch, begun_s)["decode"].missing["*"], "the engine is not named")
        monitors = named(watch, begun_s)
    assert set(monitors) == {"nvidia97", "ascend0", "devices-of-far", "cpu", "decode"}
    assert "NVML" in monitors["nvidia97"].missing["*"]
    assert "npu-smi" in monitors["ascend0"].missing["*"]
    assert monitors["devices-of-far"].missing == {"*": "it is on 10.9.8.7"}
    measures = energy_measures(tuple(monitors.values()), (), (0.0, 0.1), {})
    assert {measure.value for measure in measures} == {None}


def test_one_that_hangs_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "npu-smi"
    table = (Path(__file__).parent / "npu_smi" / "910b4.txt").resolve()
    # It answers while its chips are looked for, and hangs from then on.
    program.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/once ] && exec sleep 60\ntouch {tmp_path}/once\ncat {table}\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    settings = Settings(every_s=0.05, chips=(Chip(kind="ascend", number=3),))
    with telemetry(settings, directory=tmp_path / "seen") as watch:
        begun_s = time.monotonic()
        until(lambda: len(named(watch, begun_s)["cpu"].readings) >= 5, "all wait for the one that hangs")
        hanging = psutil.Process(watch.pid).children()
        assert named(watch, begun_s)["ascend3"].missing["*"] == "no reading came while the load ran"
    until(lambda: not any(process.is_running() for process in hanging), "npu-smi outlives us")
    assert hanging


def test_several_loads_are_cut_out_of_one_telemetry_also_after_its_end(tmp_path: Path) -> None:
    with telemetry(Settings(every_s=0.02), directory=tmp_path) as watch:
        first_s = time.monotonic()
        time.sleep(0.3)
        second_s = time.monotonic()
        time.sleep(0.3)
        while_it_looks = watch.monitors(first_s, second_s)
    assert watch.monitors(first_s, second_s) == while_it_looks
    (second,) = watch.monitors(second_s)
    assert second.readings[-1].at_s > 0.1
    assert (tmp_path / FILE).exists()


def test_it_ends_with_its_context(tmp_path: Path) -> None:
    with telemetry(Settings(), directory=tmp_path) as watch:
        assert psutil.pid_exists(watch.pid)
    assert not psutil.pid_exists(watch.pid)


def test_its_death_is_told_and_not_taken_for_silence(tmp_path: Path) -> None:
    with telemetry(Settings(every_s=0.02), directory=tmp_path) as watch:
        begun_s = time.monotonic()
        until(lambda: len(named(watch, begun_s)["cpu"].readings) >= 3, "it does not look")
        os.kill(watch.pid, signal.SIGKILL)
        cpu = named(watch, begun_s)["cpu"]
    assert "ended early, exit code -9" in cpu.missing["*"]
    assert len(cpu.readings) >= 3, "what came is kept"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_its_parent_does(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        # As Ctrl-C in a terminal does it: to all of its foreground.
        os.killpg(parent.pid, how)
        parent.wait(DEADLINE_S)
    until(
        lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", "an orphan looks on"
    )


def test_one_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "model_dump_json", lambda *_: '{"every_s": 0}')
    with (
        pytest.raises(TelemetryFailed, match="exit code 1") as failed,
        telemetry(Settings(), directory=tmp_path),
    ):
        raise AssertionError
    assert "greater than 0" in str(failed.value) or "validation" in (tmp_path / "telemetry.log").read_text()
