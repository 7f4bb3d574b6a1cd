"""A run in a process of its own, for tests that interrupt or kill it.

Arguments: directory, owner, members and hosts as JSON. Says "ready", then stops when its input ends.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def main() -> None:
    fakes = importlib.import_module("fakes")  # beside this script
    members, hosts = map(json.loads, sys.argv[3:])
    cluster = fakes.cluster_of(members, Path(sys.argv[1]), sys.argv[2], hosts)
    try:
        cluster.start()
        say("ready")
        sys.stdin.read()
    except KeyboardInterrupt:
        left = fakes.survivors(sys.argv[2])
        say(f"interrupted, left: {left}")
    finally:
        cluster.stop()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
