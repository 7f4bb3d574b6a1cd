"""Somebody else's repository, with an environment that starts in a moment."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpcore._backends.anyio
import matplotlib.backends.backend_agg
import matplotlib.backends.backend_svg
import matplotlib.figure
import psutil
import pytest
import yaml

from pdtest.launch.kin import OWNER_VARIABLE

#: Loaded once. What a run in this process loads is forgotten after it: loading it anew takes time, and of
#: matplotlib's classes there would be two.
_LOADED = (
    httpcore._backends.anyio,
    matplotlib.backends.backend_agg,
    matplotlib.backends.backend_svg,
    matplotlib.figure,
)

DOUBLE = Path(__file__).with_name("double.py")

#: What the model of the double looks like to those who must know: blocks of 1024 bytes.
_CONFIG = {
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "hidden_size": 8,
    "vocab_size": 4096,
    "eos_token_id": 0,
}

#: Hypothesis takes a second to load and has no part in this.
_WITHOUT = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")

HEAD = """
import pytest
from pdtest import Request

def ask(prompts, **double):
    return Request.tokens(prompts.tokens(37), extra={"double": {"decode": double}} if double else {})
"""

Environment = dict[str, Any]


def member(role: str, **does: Any) -> dict[str, Any]:
    """A member that is the double; ``does`` as its docstring has it."""
    options = {"argv": [sys.executable, str(DOUBLE), "--port", "${self.ports.http}"], "ready_path": "/health"}
    args: dict[str, Any] = {"role": role} | ({"does": does} if does else {})
    return {"role": role, "service": "command", "options": options, "args": args, "ready_timeout_s": 20}


def environment(**changes: Any) -> Environment:
    """An environment of three doubles; ``changes`` replace top-level keys, None drops one."""
    whole: Environment = {
        "marks": ["fake"],
        "model": {
            "path": "model",
            "served_name": "double",
            "dtype": "float32",
            "block_size": 16,
            "max_model_len": 256,
        },
        "connector": {"contract": ["nixl"]},
        "members": {role: member(role) for role in ("prefill", "decode", "colocated")},
        "thresholds": {"settle_s": 0.3, "request_timeout_s": 10},
    } | changes
    return {key: value for key, value in whole.items() if value is not None}


class Project:
    """A scratch project around pytester."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.ini("")
        model = self.path / "model"
        model.mkdir()
        (model / "config.json").write_text(json.dumps(_CONFIG), encoding="utf-8")

    def ini(self, text: str, *, asyncio_mode: str = "auto") -> None:
        """What pytest.ini says."""
        lines = [
            "[pytest]",
            f"asyncio_mode = {asyncio_mode}",
            "asyncio_default_fixture_loop_scope = function",
        ]
        (self.path / "pytest.ini").write_text("\n".join([*lines, text, ""]), encoding="utf-8")

    def environment(self, name: str = "doubles", **changes: Any) -> Path:
        """An environment file of the project."""
        return self.write(
            f"environments/{name}.yaml", yaml.safe_dump(environment(**changes), sort_keys=False)
        )

    def write(self, name: str, text: str) -> Path:
        """Any file."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def tests(self, text: str, name: str = "test_it.py") -> None:
        """A test file; `ask` and the usual imports are there."""
        self.write(name, HEAD + text)

    def run(self, *arguments: str, env: str | None = "doubles") -> pytest.RunResult:
        """Run pytest on the project, in this process."""
        chosen = ("--env", env) if env else ()
        return self.pytester.runpytest_inprocess(*_WITHOUT, *chosen, *arguments)

    def command(self, *arguments: str, env: str = "doubles") -> tuple[str, ...]:
        """The same as a process of its own."""
        return (sys.executable, "-m", "pytest", "--assert=plain", *_WITHOUT, "--env", env, *arguments)

    @property
    def latest(self) -> Path:
        """The directory of the last run."""
        return (self.path / ".pdtest" / "runs" / "latest").resolve()

    def events(self) -> list[Mapping[str, Any]]:
        """Its events.jsonl."""
        lines = (self.latest / "events.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def survivors(self) -> list[int]:
        """Processes that runs of this project started and that still live."""
        return [process.pid for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            keeps = "pdtest.keeper" in process.cmdline()
            return (keeps or OWNER_VARIABLE in process.environ()) and str(self.path) in str(process.cwd())
        except psutil.Error:
            return False


@pytest.fixture
def project(pytester: pytest.Pytester) -> Iterator[Project]:
    """Nothing of it survives a test."""
    ours = Project(pytester)
    yield ours
    left = ours.survivors()
    for pid in left:
        psutil.Process(pid).kill()
    assert not left
