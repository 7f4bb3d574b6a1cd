"""Do runs that share a machine collide, and do they leave anything? Starts eight at once, again and again.

    python -m benchmarks.eight_at_once [--rounds 20] [--runs 8] [--env embedded] [--one-device] [-- arguments]

All are of one project and use one directory for their runs, as on a machine of CI. After each round nothing
may be left: no process that carries a run's mark, no lease, and nobody who listens on a port that was leased.
With --one-device they all want the same device, and take turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import yaml

from benchmarks.marked import MarkedRun
from benchmarks.standing import loaded
from pdtest.environment.schema import Role
from pdtest.launch.claims import DIRECTORY_VARIABLE, FlockLock

#: The end of a run returns before the kernel has taken back what its last process had.
_SETTLE_S: Final = 5.0
_LOOK_S: Final = 0.1
_SHOWN: Final = 30


@dataclass(frozen=True, kw_only=True)
class Round:
    """What came of one. ``took_s``: of each run, in seconds. ``failed``: the last lines of those that did."""

    took_s: tuple[float, ...]
    failed: tuple[str, ...]
    left: tuple[str, ...]


def main() -> None:
    """Print the figures; exit 1 where a run failed or left something."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="embedded")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--one-device", action="store_true", help="all want core 0 for themselves")
    parser.add_argument("arguments", nargs="*", default=["suites/transfer/test_moved.py"])
    options = parser.parse_args()
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="eight-at-once-") as work, suppress(KeyboardInterrupt):
        directory = Path(work)
        env = _wanting_one_device(options.env, directory) if options.one_device else options.env
        arguments = [f"--env={env}", f"--pdtest-dir={directory / 'home'}", "--cluster-wait=3600"]
        for number in range(1, options.rounds + 1):
            began = time.perf_counter()
            rounds.append(_round([*arguments, *options.arguments], options.runs, directory))
            _tell(number, rounds[-1], time.perf_counter() - began)
    _conclude(rounds)


def _round(arguments: Sequence[str], runs: int, directory: Path) -> Round:
    leases = directory / "leases"
    began = time.perf_counter()
    with ExitStack() as stack:
        outputs = [stack.enter_context((directory / f"output-{run}").open("w+b")) for run in range(runs)]
        marked = [MarkedRun.begin(arguments, {DIRECTORY_VARIABLE: str(leases)}, output) for output in outputs]
        stack.callback(_kill, marked)
        ended: dict[int, float] = {}
        while len(ended) < runs:
            for number, run in enumerate(marked):
                if number not in ended and run.process.poll() is not None:
                    ended[number] = time.perf_counter() - began
            time.sleep(_LOOK_S)
        failed = [number for number, run in enumerate(marked) if run.process.returncode]
        return Round(
            took_s=tuple(ended.values()),
            failed=tuple(_last_lines(directory / f"output-{number}") for number in failed),
            left=tuple(_left(marked, leases)),
        )


def _left(marked: Sequence[MarkedRun], leases: Path) -> list[str]:
    """What is still there after a while in which all of it may go."""
    deadline = time.perf_counter() + _SETTLE_S
    while (found := [*_remains(marked, leases)]) and time.perf_counter() < deadline:
        time.sleep(_LOOK_S)
    return found


def _remains(marked: Sequence[MarkedRun], leases: Path) -> Iterator[str]:
    processes = {process.pid: process for run in marked for process in run.left()}
    for pid, process in processes.items():
        with suppress(psutil.Error):
            yield f"process {pid}: {' '.join(process.cmdline())[:100]}"
    tcp = psutil.net_connections(kind="tcp")
    # Others on this machine may have a port by now, and their processes are seen; the kernel's have none.
    listening = {
        end.laddr.port
        for end in tcp
        if end.laddr and end.status == psutil.CONN_LISTEN and (end.pid is None or end.pid in processes)
    }
    for note in leases.glob("*.json"):
        yield f"note of a lease: {note.name}"
    for lock in leases.glob("*.lock"):
        free = FlockLock.take(lock)
        if free is None:
            yield f"lease: {lock.stem}"
        else:
            free.release()
        if lock.stem.isdigit() and int(lock.stem) in listening:
            yield f"port: {lock.stem}"


def _wanting_one_device(env: str, directory: Path) -> Path:
    """An environment file: as ``env``, whose prefill has core 0 to itself."""
    environment = loaded(env)
    prefill = next(iter(environment.members_with(Role.PREFILL)))
    content = {
        "extends": str(Path(environment.source or "").resolve()),
        "hosts": {"local": {"devices": {"kind": "core", "ids": [0]}}},
        "members": {prefill: {"devices": [0]}},
    }
    file = directory / "one-device.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file


def _kill(marked: Sequence[MarkedRun]) -> None:
    """Those that run, when we are interrupted. Their reapers end the rest."""
    for run in marked:
        run.process.kill()
        run.process.wait()


def _last_lines(output: Path) -> str:
    return "\n".join(output.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN:])


def _tell(number: int, done: Round, took_s: float) -> None:
    passed = len(done.took_s) - len(done.failed)
    print(
        f"round {number:2}: {passed} of {len(done.took_s)} passed in {took_s:.0f} s "
        f"(each {min(done.took_s):.0f} to {max(done.took_s):.0f} s), left: {len(done.left)}",
        flush=True,
    )
    for text in (*done.failed, *done.left):
        print(text, file=sys.stderr, flush=True)


def _conclude(rounds: Sequence[Round]) -> None:
    took_s = [took for done in rounds for took in done.took_s]
    failed, left = sum(len(done.failed) for done in rounds), sum(len(done.left) for done in rounds)
    if not took_s:
        sys.exit("no round was over")
    print(
        f"{len(rounds)} rounds, {len(took_s)} runs: {failed} failed, {left} things left; "
        f"a run took {statistics.median(took_s):.1f} s in the median, {max(took_s):.1f} s at the most"
    )
    sys.exit(1 if failed or left else 0)


if __name__ == "__main__":
    main()
