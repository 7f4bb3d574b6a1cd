from __future__ import annotations

from pathlib import Path

import pytest

from pdtest.environment import EnvironmentInvalid, load
from pdtest.environment.arrivals import Closed, Gamma
from pdtest.environment.distributions import Empirical
from pdtest.environment.schema import Environment

HEAD = """
name: sample
members:
  store: {role: store, service: command, launcher: attach, url: "http://127.0.0.1:1"}
workloads:
  chat:
"""


def loaded(tmp_path: Path, workload: str) -> Environment:
    path = tmp_path / "sample.yaml"
    path.write_text(HEAD + "".join(f"    {line}\n" for line in workload.splitlines()))
    return load(path)


def test_a_workload_says_when_and_how_long(tmp_path: Path) -> None:
    text = (
        "arrivals: {pattern: gamma, rate: 5, burstiness: 0.3}\n"
        "prompt: {shape: empirical, tokens: [3, 4]}\n"
        "duration_s: 20"
    )
    chat = loaded(tmp_path, text).workloads["chat"]
    assert chat.arrivals == Gamma(pattern="gamma", rate=5.0, burstiness=0.3)
    assert chat.prompt == Empirical(shape="empirical", tokens=(3, 4))
    closed = loaded(tmp_path, "arrivals: {pattern: closed, concurrency: 3}\nrequests: 9").workloads["chat"]
    assert closed.arrivals == Closed(pattern="closed", concurrency=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("requests: 3\narrivals: {pattern: gama, rate: 3}", "one of 'constant', 'poisson', 'gamma'"),
        ("requests: 3\narrivals: {rate: 3}", "'pattern': which kind it is"),
        ("requests: 3\narrivals: {pattern: poisson, rat: 3}", "did you mean 'rate'?"),
        ("requests: 3\nprompt: {shape: bimodal, short: 3, long: 5, long_share: 2}", "less than 1"),
        ("requests: 3\nprompt: {shape: uniform, shortest: 30, longest: 5}", "shortest to be at most longest"),
        ("warm_up: 3", "requests or duration_s"),
        (
            "arrivals: {pattern: closed, concurrency: 3}\nduration_s: 3",
            "requests: the most that a closed loop",
        ),
    ],
)
def test_what_cannot_be_meant_is_said_in_the_words_of_the_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(EnvironmentInvalid) as refused:
        loaded(tmp_path, text)
    assert said in str(refused.value)
    assert "workloads.chat" in str(refused.value)
