"""Does the correctness suite ever cry wolf? Repeats it on unmodified servers and counts.

python -m benchmarks.false_alarms [--rounds 20] [--env vllm-cpu] [-- pytest arguments]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET  # our own JUnit file

from benchmarks.standing import ROOT, attached, standing


def main() -> None:
    """Print the figures; exit 1 on any alarm."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="vllm-cpu")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("arguments", nargs="*", default=["suites/correctness"])
    options = parser.parse_args()
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as work, standing(options.env, Path(work)) as cluster:
        environment = attached(cluster, Path(work) / "attached.yaml")
        for turn in range(1, options.rounds + 1):
            began = time.perf_counter()
            counts = _round(environment, Path(work) / "junit.xml", options.arguments)
            total += counts
            print(f"round {turn:2}: {dict(counts)} in {time.perf_counter() - began:.0f} s", flush=True)
    print(f"{options.rounds} rounds: {total['tests']} tests, {total['failures'] + total['errors']} alarms")
    sys.exit(1 if total["failures"] + total["errors"] else 0)


def _round(environment: Path, junit: Path, arguments: list[str]) -> Counter[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--env",
        str(environment),
        f"--junitxml={junit}",
        *arguments,
    ]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-6000:], file=sys.stderr)
    (suite,) = ET.parse(junit).getroot().iter("testsuite")  # noqa: S314
    # Inconclusive tests are failures in JUnit.
    return Counter({key: int(suite.attrib[key]) for key in ("tests", "failures", "errors", "skipped")})


if __name__ == "__main__":
    main()
