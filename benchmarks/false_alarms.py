"""Do the suites ever cry wolf? Repeats them on unmodified programs, and counts.

    python -m benchmarks.false_alarms [--env embedded] [--rounds 20] [--out FILE] [-- pytest arguments]

A round is a pytest of its own on a cluster that stands, so that it costs the tests alone; what tests break is
started again. Each round is a line of JSON in --out as soon as it is over. Rounds that are there already, of
the same environment and arguments, count: whoever stops it goes on by the same command. Ctrl-C shows the sum.

What a round leaves behind is kept where something was alarmed, in --home, and deleted where nothing was.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET  # our own JUnit file

from pydantic import BaseModel

from benchmarks.standing import ROOT

_SAID: Final = 400
_STOP_S: Final = 60.0
#: pytest's exit codes of a session that ran its tests.
_RAN: Final = frozenset({0, 1})


class Alarm(BaseModel, frozen=True):
    """A test that did not pass, and the beginning of what it said. An open question is one, too."""

    test: str
    said: str


class Round(BaseModel, frozen=True):
    """All the tests, once. ``load``: the machine's, at the end; ``took_s`` is seconds."""

    env: str
    arguments: tuple[str, ...]
    commit: str
    ended: str
    took_s: float
    load: float
    passed: int
    skipped: int
    alarms: tuple[Alarm, ...]
    run: str = ""

    def __str__(self) -> str:
        lines = [
            f"{self.passed} passed, {self.skipped} skipped, {len(self.alarms)} alarms, {self.took_s:.0f} s"
        ]
        return "\n".join([*lines, *(f"  {alarm.test}: {alarm.said}" for alarm in self.alarms)])


class NothingRan(Exception):
    """pytest stopped before its tests, or had none."""


def main() -> None:
    """Print the figures; exit 1 on any alarm, 2 where a round could not be made."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="embedded")
    parser.add_argument("--rounds", type=int, default=20, help="with those that --out has already")
    parser.add_argument("--out", type=Path, default=Path("alarms.jsonl"))
    parser.add_argument("--home", type=Path, default=Path(".pdtest/alarms"))
    parser.add_argument("arguments", nargs="*", default=["suites/correctness", "suites/transfer"])
    options = parser.parse_args()
    # In the background of a script SIGINT would be ignored, by pytest as well, which inherits that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    rounds = _earlier(options)
    try:
        with _standing(options.env, options.home):
            while len(rounds) < options.rounds:
                rounds.append(_round(options))
                with options.out.open("a", encoding="utf-8") as out:
                    out.write(rounds[-1].model_dump_json() + "\n")
                print(f"round {len(rounds)}: {rounds[-1]}", flush=True)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", flush=True)
    except NothingRan as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    finally:
        _say_sum(rounds)
    sys.exit(1 if any(one.alarms for one in rounds) else 0)


def _say_sum(rounds: Sequence[Round]) -> None:
    alarms = [alarm for one in rounds for alarm in one.alarms]
    tests = sum(one.passed + len(one.alarms) for one in rounds)
    hours = sum(one.took_s for one in rounds) / 3600
    print(f"{len(rounds)} rounds, {tests} tests, {hours:.1f} h: {len(alarms)} alarms", flush=True)
    for test in sorted({alarm.test for alarm in alarms}):
        print(f"  {sum(alarm.test == test for alarm in alarms)} x {test}", flush=True)


def _earlier(options: argparse.Namespace) -> list[Round]:
    """Rounds of the same kind that --out has."""
    lines = options.out.read_text(encoding="utf-8").splitlines() if options.out.exists() else []
    rounds = map(Round.model_validate_json, filter(None, lines))
    return [one for one in rounds if (one.env, one.arguments) == (options.env, tuple(options.arguments))]


@contextmanager
def _standing(env: str, home: Path) -> Iterator[None]:
    """The environment's cluster. Raises NothingRan where it does not come up."""

    def pdtest(*words: str) -> int:
        command = [sys.executable, "-m", "pdtest.cli", *words, "--pdtest-dir", str(home.resolve())]
        return _run(command, subprocess.DEVNULL)

    try:
        if pdtest("up", env):
            raise NothingRan(f"{env} does not come up")
        yield
    finally:
        pdtest("down", "--all")  # of ours: nobody else uses this home


def _round(options: argparse.Namespace) -> Round:
    """Raises NothingRan."""
    began = time.perf_counter()
    home: Path = options.home.resolve()
    junit, said = home / "junit.xml", home / "pytest.log"
    junit.unlink(missing_ok=True)
    common = ["-q", "-p", "no:cacheprovider", "--pdtest-dir", str(home), f"--junitxml={junit}"]
    with said.open("w", encoding="utf-8") as log:
        code = _run([sys.executable, "-m", "pytest", *common, "--env", options.env, *options.arguments], log)
    if code not in _RAN or not junit.exists():
        raise NothingRan(f"pytest ended with {code}:\n{said.read_text(encoding='utf-8')[-3000:]}")
    cases = [*ET.parse(junit).getroot().iter("testcase")]  # noqa: S314
    alarms = tuple(alarm for case in cases for alarm in _alarms(case))
    skipped = sum(case.find("skipped") is not None for case in cases)
    loud = {alarm.test for alarm in alarms}
    passed = len(cases) - skipped - sum(_name(case) in loud for case in cases)
    if not passed and not alarms:
        raise NothingRan(f"all {len(cases)} tests were skipped")
    run = (home / "runs" / "latest").resolve()
    if alarms:
        shutil.copy(said, run / "pytest.log")
    else:
        shutil.rmtree(run, ignore_errors=True)
        _forget_records(home / "standing")
    return Round(
        env=options.env,
        arguments=tuple(options.arguments),
        commit=_commit(),
        ended=time.strftime("%Y-%m-%d %H:%M:%S"),
        took_s=time.perf_counter() - began,
        load=os.getloadavg()[0],
        passed=passed,
        skipped=skipped,
        alarms=alarms,
        run=str(run) if alarms else "",
    )


def _alarms(case: ET.Element) -> Iterator[Alarm]:
    for part in (*case.findall("failure"), *case.findall("error")):
        yield Alarm(test=_name(case), said=" ".join(part.attrib.get("message", "").split())[:_SAID])


def _name(case: ET.Element) -> str:
    return f"{case.attrib['classname']}::{case.attrib['name']}"


def _forget_records(standing: Path) -> None:
    """An X-ray has some 100 MB a round, and the next round would read them all."""
    for file in standing.glob("*/xray/*/*.jsonl"):
        file.unlink(missing_ok=True)


def _commit() -> str:
    said = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return said.stdout.strip()


def _run(command: Sequence[str], output: Any) -> int:
    """Its exit code. Ctrl-C is passed on once, for a second one would keep pytest from cleaning up."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=output,
        stderr=subprocess.STDOUT if output != subprocess.DEVNULL else None,
        start_new_session=True,
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        raise


if __name__ == "__main__":
    main()
