from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from .fakes import survivors, until

CONTROLLER = Path(__file__).with_name("controller.py")
LOADING = {"loads_s": 60.0, "daemon": True}
SERVING: dict[str, Any] = {"daemon": True}


class Controllers:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def start(self, members: dict[str, dict[str, Any]]) -> str:
        owner = f"test-{uuid.uuid4().hex}"
        self._processes[owner] = subprocess.Popen(
            [sys.executable, str(CONTROLLER), str(self.directory(owner)), owner, json.dumps(members), "null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return owner

    def directory(self, owner: str) -> Path:
        return self._directory / owner

    def signal(self, owner: str, number: signal.Signals) -> None:
        os.kill(self._processes[owner].pid, number)

    def say(self, owner: str) -> str:
        output = self._processes[owner].stdout
        assert output is not None
        return output.readline()

    def end(self, owner: str) -> str:
        return self._processes[owner].communicate(timeout=20)[0]

    def close(self) -> None:
        for owner, process in self._processes.items():
            process.kill()
            process.communicate()
            for pid in survivors(owner):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def controllers(tmp_path: Path) -> Iterator[Controllers]:
    ours = Controllers(tmp_path)
    yield ours
    ours.close()


def reapers(owner: str) -> list[int]:
    found = psutil.process_iter(["cmdline"])
    return [p.pid for p in found if {owner, "pdtest.launch.reaper"} <= set(p.info["cmdline"] or [])]


def gone(owner: str) -> bool:
    return not reapers(owner) and not survivors(owner)


def test_nothing_survives_kill_9_at_any_moment(controllers: Controllers) -> None:
    def written(pattern: str, count: int = 1) -> Callable[[str], bool]:
        return lambda owner: len(list(controllers.directory(owner).glob(pattern))) >= count

    def serves(owner: str) -> bool:
        journal = controllers.directory(owner) / "events.jsonl"
        return journal.exists() and journal.read_text(encoding="utf-8").count("MemberReady") == 2

    cases: list[tuple[dict[str, Any], Callable[[str], object]]] = [
        (LOADING, reapers),
        (LOADING, written("members/*/command.sh")),
        (LOADING, written("members/*/started")),
        (LOADING, written("members/*/started", count=2)),
        (SERVING, serves),
        (SERVING | {"ignores_sigterm": True}, serves),
    ]
    waiting = {controllers.start({"prefill": does, "decode": does}): moment for does, moment in cases}
    killed_at: dict[str, float] = {}

    def kill_those_that_got_there() -> bool:
        for owner in [owner for owner, there in waiting.items() if there(owner)]:
            controllers.signal(owner, signal.SIGKILL)
            killed_at[owner] = time.monotonic()
            del waiting[owner]
        return not waiting

    until(kill_those_that_got_there, "every run comes to its moment", 30.0)
    for owner, moment in killed_at.items():
        until(partial(gone, owner), "all gone", moment + 5.0 - time.monotonic())
    report = (controllers.directory(list(killed_at)[-1]) / "reaper.log").read_text(encoding="utf-8")
    assert "SIGTERM" in report


def test_ctrl_c_during_a_start_tears_down_before_it_propagates(controllers: Controllers) -> None:
    owner = controllers.start({"prefill": LOADING, "decode": LOADING | {"ignores_sigterm": True}})
    until(
        lambda: len(list(controllers.directory(owner).glob("members/*/started"))) == 2, "both members start"
    )

    controllers.signal(owner, signal.SIGINT)

    assert controllers.say(owner) == "interrupted, left: []\n"
    controllers.end(owner)
    assert gone(owner)


def test_an_orderly_end_needs_no_reaper(controllers: Controllers) -> None:
    owner = controllers.start({"decode": SERVING})
    assert controllers.say(owner) == "ready\n"
    assert len(reapers(owner)) == 1

    controllers.end(owner)

    assert gone(owner)
    assert not (controllers.directory(owner) / "reaper.log").exists()
