from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from pdtest.environment.workload import Workload
from pdtest.load.drive import Recorded, drive
from pdtest.load.layout import lay_out
from pdtest.load.way import Target, Way

Driven = Callable[..., Recorded]
Served = Callable[..., str]


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    command = [sys.executable, "-m", "pdtest.load.calibration", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def way(url: str) -> Way:
    return Way(answers=Target(name="calibration", url=url, model="m"))


def driven(url: str | Way, *, processes: int = 1, timeout_s: float = 60.0, **workload: object) -> Recorded:
    """Puts a workload on a server."""
    short: dict[str, object] = {
        "arrivals": {"pattern": "constant", "rate": 100},
        "prompt": {"shape": "fixed", "tokens": 8},
        "answer": {"shape": "fixed", "tokens": 10},
    }
    plan = lay_out(Workload.model_validate(short | workload), vocab_size=1000, max_model_len=10_000)
    ways = [url if isinstance(url, Way) else way(url)]
    return drive(plan, ways, processes=processes, timeout_s=timeout_s)


def stamps(url: str) -> dict[str, dict[str, Any]]:
    """When the calibration server wrote its events, by request."""
    told: dict[str, dict[str, Any]] = httpx.get(f"{url}/stamps", timeout=30).json()
    return told
