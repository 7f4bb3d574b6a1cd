"""Record what a running vLLM answers to the cases.

    python -m tests.embedded.conformance.record --url http://127.0.0.1:8000

The server must serve its model as `tiny` with `--max-model-len 2048 --enable-prompt-tokens-details`,
without a connector (a colocated instance), with VLLM_SERVER_DEV_MODE=1 for /reset_prefix_cache.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import httpx

from .cases import CASES
from .exchange import Case, Exchange, ask

RECORDINGS = Path(__file__).parent / "recordings"


def record(url: str, cases: tuple[Case, ...] = CASES) -> dict[str, Exchange]:
    """The answers of the server at ``url``, by the cases' names."""
    answers: dict[str, Exchange] = {}
    # A request of its own connection each: a case may make the server close it.
    with httpx.Client(base_url=url, timeout=120, headers={"connection": "close"}) as client:
        # What was asked before must not be in the prefix cache.
        client.post("/reset_prefix_cache").raise_for_status()
        for case in cases:
            answers[case.name] = ask(client, case, answers)
    _forget_places(answers["models"].body)
    return answers


def _forget_places(models: dict[str, Any]) -> None:
    """Where the model lies is nothing to keep."""
    for model in models["data"]:
        model["root"] = Path(model["root"]).name


def read(file: Path) -> dict[str, Exchange]:
    """A recording, by the cases' names."""
    recorded = json.loads(file.read_text(encoding="utf-8"))
    return {name: Exchange(**answer) for name, answer in recorded.items()}


def write(answers: dict[str, Exchange], file: Path) -> None:
    """One line per case, so that a new recording can be compared with the old one."""
    lines = (f"{json.dumps(name)}: {json.dumps(answer.json())}" for name, answer in answers.items())
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
    """Ask everything and write the recording."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--url", required=True, help="a vLLM server, as http://HOST:PORT")
    arguments.add_argument(
        "--output", type=Path, help="default: recordings/vllm-VERSION.json beside this file"
    )
    chosen = arguments.parse_args()
    answers = record(chosen.url)
    minor = ".".join(str(answers["version"].body["version"]).split(".")[:2])
    output = chosen.output or RECORDINGS / f"vllm-{minor}.json"
    write(answers, output)
    print(f"{len(answers)} answers written to {output}")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
