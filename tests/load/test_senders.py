"""Processes of the client whose clock is another: in a time namespace, as on another machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import IO

import pytest

from pdtest.environment.workload import Workload
from pdtest.load.drive import drive
from pdtest.load.hand import MODULE
from pdtest.load.layout import lay_out
from tests.load.calibrated import serving, way

#: Seconds that the other clock is ahead.
AHEAD_S = 5000
ELSEWHERE = ["unshare", "--user", "--map-root-user", "--time", "--monotonic", str(AHEAD_S), "--fork"]

pytestmark = pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run([*ELSEWHERE, "true"], check=False).returncode != 0,
    reason="no time namespaces here",
)


class HandElsewhere:
    """As `HandHere`, where CLOCK_MONOTONIC has another origin."""

    host: str | None = "elsewhere"
    where = "in a time namespace"

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*ELSEWHERE, "--kill-child", sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.stdin: IO[bytes] = self._process.stdin
        self.stdout: IO[bytes] = self._process.stdout

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> tuple[int | None, str]:
        self._process.kill()
        self.stdin.close()
        self.stdout.close()
        return self._process.wait(), ""


def test_senders_with_other_clocks_make_one_load() -> None:
    work = {
        "arrivals": {"pattern": "constant", "rate": 20},
        "prompt": {"shape": "fixed", "tokens": 8},
        "answer": {"shape": "fixed", "tokens": 4},
        "requests": 20,
    }
    plan = lay_out(Workload.model_validate(work), vocab_size=1000, max_model_len=1000)
    with serving() as url:
        recorded = drive(plan, [way(url)], processes=2, timeout_s=60.0, hire=HandElsewhere)
    assert [sender.worker for sender in recorded.senders] == [0, 1]
    for sender in recorded.senders:
        assert sender.host == "elsewhere"
        assert abs(sender.clock_offset_s - AHEAD_S) <= sender.clock_error_s < 1
    assert {one.worker for one in recorded.exchanges} == {0, 1}
    for one in recorded.exchanges:
        assert one.ok
        assert one.due_s is not None
        assert one.due_s - 0.5 < one.sent_s < one.due_s + 30
    assert recorded.lasted_s < 60
