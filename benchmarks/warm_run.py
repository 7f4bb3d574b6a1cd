"""How long does a developer wait for the first verdict, where the cluster stands?

    python -m benchmarks.warm_run [--trials 7] [--env embedded] [-- pytest arguments]

In turns: a bare pytest with one empty test, which is the least there can be; a run on members that stand; and
one after the code of a member has changed, which starts that member anew. Each is timed from the command's
start to the first line that tells how a test went.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import yaml

from benchmarks.standing import ROOT
from pdtest.environment.catalogue import Catalogue, default_directories
from pdtest.environment.schema import Role
from pdtest.events import read
from pdtest.events.member import MemberReady
from pdtest.keeper import FOLDER

_NAME: Final = "warm"
_VERDICT: Final = re.compile(r" (PASSED|FAILED|ERROR|INCONCLUSIVE|SKIPPED|XFAIL)\b")
#: Seconds that a run may take beyond the start-up of what it starts.
_ALLOWED_S: Final = 2.0


def main() -> None:
    """Print the figures; exit 1 where one is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="embedded")
    parser.add_argument("--trials", type=int, default=7)
    parser.add_argument("arguments", nargs="*", default=["suites/correctness"])
    options = parser.parse_args()
    bare: list[float] = []
    warm: list[float] = []
    changed: list[float] = []
    starts: list[float] = []
    with tempfile.TemporaryDirectory() as work:
        directory = Path(work)
        code = directory / "connector.py"
        environment = _copied(options.env, directory, code)
        run = [f"--env={environment}", f"--pdtest-dir={directory / 'home'}", *options.arguments]
        with _up(environment, directory):
            for trial in range(options.trials):
                bare.append(_first_verdict(["-p", "no:pdtest", str(_empty(directory))], directory))
                warm.append(_first_verdict(run, ROOT))
                code.write_text(f"# {trial}\n", encoding="utf-8")
                changed.append(_first_verdict(run, ROOT))
                starts.append(_last_start_s(directory))
                print(
                    f"bare {bare[-1]:.2f} s, warm {warm[-1]:.2f} s, changed {changed[-1]:.2f} s "
                    f"(its start {starts[-1]:.2f} s)",
                    flush=True,
                )
    beyond = [whole - start for whole, start in zip(changed, starts, strict=True)]
    print(f"{options.trials} trials, seconds to the first verdict: median (least to most)")
    _tell("bare pytest, an empty test", bare)
    _tell("members stand", warm)
    _tell("a member changed", changed)
    _tell("  beyond that member's start", beyond)
    print(f"members stand / bare: {statistics.median(warm) / statistics.median(bare):.1f}")
    sys.exit(1 if max(statistics.median(warm), statistics.median(beyond)) > _ALLOWED_S else 0)


def _tell(what: str, seconds: Sequence[float]) -> None:
    print(f"{what:<30} {statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})")


def _copied(name: str, directory: Path, code: Path) -> Path:
    """The environment, with a decode instance whose code we may change."""
    catalogue = Catalogue(default_directories(ROOT))
    decode = next(iter(catalogue.load(name).members_with(Role.DECODE)))
    code.write_text("# as it was\n", encoding="utf-8")
    content = {"extends": str(catalogue.file(name)), "members": {decode: {"code": [str(code)]}}}
    file = directory / f"{_NAME}.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def _empty(directory: Path) -> Path:
    file = directory / "test_empty.py"
    file.write_text("def test_nothing():\n    pass\n", encoding="utf-8")
    return file


@contextmanager
def _up(environment: Path, directory: Path) -> Iterator[None]:
    pdtest = Path(sys.executable).with_name("pdtest")
    home = ("--pdtest-dir", str(directory / "home"))
    subprocess.run([pdtest, "up", environment, *home], cwd=ROOT, check=True)
    try:
        yield
    finally:
        subprocess.run([pdtest, "down", _NAME, *home], cwd=ROOT, check=True)


def _first_verdict(arguments: Sequence[str], directory: Path) -> float:
    """Seconds to the first test's outcome; the run is then interrupted."""
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments]
    began = time.perf_counter()
    run = subprocess.Popen(command, cwd=directory, env=_environ(), stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None  # noqa: S101 - it is a pipe
    took, seen = None, []
    for line in run.stdout:
        seen.append(line)
        if took is None and _VERDICT.search(line):
            took = time.perf_counter() - began
            run.send_signal(signal.SIGINT)
    run.wait()
    if took is None:
        sys.exit(f"no test came to its end:\n{''.join(seen)[-4000:]}")
    return took


def _environ() -> dict[str, str]:
    """With compiled files, which people have after their first run."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _last_start_s(directory: Path) -> float:
    journal = directory / "home" / FOLDER / _NAME / "events.jsonl"
    *_, last = (event for event in read(journal, kind=MemberReady) if isinstance(event, MemberReady))
    return last.elapsed_s


if __name__ == "__main__":
    main()
