"""Runs a script once the engines answer: when_up.py URL... -- SCRIPT FLAGS...

Some proxies ask every instance for its model when they start, and end where one does not answer yet. Each URL
is asked until it answers 200; then the script runs as if it had been started itself.
"""

from __future__ import annotations

import runpy
import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus

INTERVAL_S = 0.5
TIMEOUT_S = 5.0


def answers(url: str) -> bool:
    """True where a GET gives 200."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=TIMEOUT_S) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, urllib.error.URLError):
        return False


def main(urls: list[str], command: list[str]) -> None:
    """Wait for all, then become the script."""
    for url in urls:
        if not answers(url):
            print(f"waiting for {url}", flush=True)  # noqa: T201 - it has no log
            while not answers(url):
                time.sleep(INTERVAL_S)
    print("all instances answer", flush=True)  # noqa: T201
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    split = sys.argv.index("--")
    main(sys.argv[1:split], sys.argv[split + 1 :])
