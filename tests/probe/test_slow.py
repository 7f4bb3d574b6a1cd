"""The connector that is in no hurry, over one of NIXL's shape; suites/recovery uses the real one."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from types import SimpleNamespace as Some
from typing import Any

import pytest

STEP_S, TRANSFER_S = 0.5, 2.0
COMPUTES, IDLE = Some(attn_metadata={}), Some(attn_metadata=None)


class Nixl:
    """Remembers what it began to read at which time."""

    def __init__(self, *_: Any) -> None:
        self.began: list[tuple[float, dict[str, str]]] = []
        self._connector_metadata = Some(reqs_to_recv={})

    def start_load_kv(self, _: Any) -> None:
        self.began.append((clock[0], dict(self._connector_metadata.reqs_to_recv)))


clock = [0.0]


@pytest.fixture
def connector(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The worker's half, on a clock that goes on only where somebody sleeps."""
    names = ["vllm", "distributed", "kv_transfer", "kv_connector", "v1", "nixl"]
    for length in range(1, len(names) + 1):
        name = ".".join(names[:length])
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules[".".join(names)], "NixlConnector", Nixl, raising=False)
    monkeypatch.delitem(sys.modules, "pdtest.probe.slow", raising=False)
    module = importlib.import_module("pdtest.probe.slow")
    clock[0] = 100.0

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(module, "time", Some(monotonic=lambda: clock[0], sleep=sleep))
    given = {"slow_step_s": STEP_S, "slow_transfer_s": TRANSFER_S}
    config = Some(kv_transfer_config=Some(get_from_extra_config=given.get))
    yield module.SlowNixlConnector(config, "worker")
    sys.modules.pop("pdtest.probe.slow", None)


def step(connector: Any, context: Any, **wanted: str) -> dict[str, str]:
    """One step of the engine; what was begun to be read in it."""
    connector._connector_metadata = Some(reqs_to_recv=dict(wanted))
    connector.start_load_kv(context)
    begun: dict[str, str] = connector.began[-1][1]
    return begun


def test_a_read_begins_once_and_not_before_its_time(connector: Any) -> None:
    assert step(connector, IDLE, a="of a") == {}
    clock[0] += TRANSFER_S / 2
    assert step(connector, IDLE, b="of b") == {}
    clock[0] += TRANSFER_S / 2
    assert step(connector, IDLE) == {"a": "of a"}
    assert step(connector, IDLE) == {}
    clock[0] += TRANSFER_S
    assert step(connector, IDLE) == {"b": "of b"}


def test_steps_that_compute_something_take_their_time(connector: Any) -> None:
    step(connector, COMPUTES)
    assert clock[0] == 100.0 + STEP_S
    step(connector, IDLE)
    assert clock[0] == 100.0 + STEP_S
