"""The probe over a connector of vLLM's shape. Of vLLM there are a few names; suites use the real one."""
# ruff: noqa: ARG002, ARG003 - what a connector is given

from __future__ import annotations

import importlib
import logging
import sys
from types import ModuleType
from types import SimpleNamespace as Some
from typing import Any

import pytest


class Meta:
    """A connector's metadata."""


class Plain:
    """A connector."""

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any) -> None:
        self.calls: list[str] = []

    @classmethod
    def get_required_kvcache_layout(cls, config: Any) -> str:
        return f"layout of {cls.__name__}"

    def get_num_new_matched_tokens(self, request: Any, computed: int) -> tuple[int, bool]:
        return len(request.prompt_token_ids) - computed, True

    def update_state_after_alloc(self, request: Any, blocks: Any, tokens: int) -> None:
        self.calls.append("allocated")

    def build_connector_meta(self, output: Any) -> Meta:
        return Meta()

    def register_kv_caches(self, caches: Any) -> None:
        self.calls.append("registered")

    def bind_connector_metadata(self, meta: Any) -> None:
        self.calls.append("bound")

    def wait_for_save(self) -> None:
        self.calls.append("saved")

    def get_finished(self, finished: set[str]) -> tuple[set[str], set[str]]:
        return set(), {"a"}

    def get_transfer_results(self, finished: set[str]) -> Any:
        sent, received = self.get_finished(finished)
        return Some(finished_sending=sent, finished_recving=received)


class Seen:
    """Stands in for a recorder."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, str]] = []
        self.broken = False

    def record(self, order: Any) -> None:
        if self.broken:
            raise RuntimeError("no room")
        self.orders.append((order.side, order.sequence))


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`pdtest.probe.connector`, with a vLLM that knows one connector."""

    class Factory:
        @staticmethod
        def get_connector_class_by_name(name: str) -> type:
            if name != "Plain":
                raise ValueError(f"Connector '{name}' is not registered.")
            return Plain

    logger = logging.getLogger("test")
    contents: dict[str, dict[str, Any]] = {
        "vllm": {},
        "vllm.logger": {"init_logger": lambda _: logger},
        "vllm.distributed.kv_transfer.kv_connector.factory": {"KVConnectorFactory": Factory},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    for name in (
        "vllm.distributed",
        "vllm.distributed.kv_transfer",
        "vllm.distributed.kv_transfer.kv_connector",
    ):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.delitem(sys.modules, "pdtest.probe.connector", raising=False)
    yield importlib.import_module("pdtest.probe.connector")
    sys.modules.pop("pdtest.probe.connector", None)


def config(role: str = "kv_consumer") -> Any:
    return Some(kv_transfer_config=Some(kv_role=role, get_from_extra_config=lambda name, _: f"/{name}"))


def test_a_connector_keeps_its_name_and_all_that_is_asked_of_its_class(probe: Any) -> None:
    probed = probe.Plain
    assert probed is probe.Plain
    assert issubclass(probed, Plain)
    assert probed.__name__ == "Plain"
    assert probed.get_required_kvcache_layout(None) == "layout of Plain"


def test_a_connector_of_a_module_of_its_own(probe: Any) -> None:
    probed = getattr(probe, f"{__name__}:Plain")
    assert issubclass(probed, Plain)


def test_a_name_that_nobody_knows(probe: Any) -> None:
    with pytest.raises(AttributeError, match="no connector 'Unknown'"):
        _ = probe.Unknown


def hand_over(scheduler: Any, worker: Any) -> None:
    request = Some(request_id="a", prompt_token_ids=[1, 2, 3])
    scheduler.get_num_new_matched_tokens(request, 0)
    scheduler.update_state_after_alloc(request, Some(get_block_ids=lambda: ([5],)), 3)
    nothing = Some(req_ids=[], num_computed_tokens=[], new_block_ids=[], resumed_req_ids=set())
    output = Some(
        scheduled_new_reqs=[], scheduled_cached_reqs=nothing, num_scheduled_tokens={}, finished_req_ids=set()
    )
    worker.bind_connector_metadata(scheduler.build_connector_meta(output))
    worker.wait_for_save()


def test_orders_go_from_one_half_to_the_other(probe: Any) -> None:
    scheduler, worker = (probe.Plain(config(), role, None) for role in ("scheduler", "worker"))
    worker._xray_recorder = seen = Seen()
    hand_over(scheduler, worker)
    assert not seen.orders
    results = worker.get_transfer_results(set())
    assert results.finished_recving == {"a"}
    # Once, although one of the two ways of asking goes by the other.
    assert seen.orders == [("received", "a")]
    assert worker.calls == ["bound", "saved"]


def test_a_connector_does_not_suffer_from_its_probe(probe: Any, caplog: pytest.LogCaptureFixture) -> None:
    scheduler, worker = (probe.Plain(config(), role, None) for role in ("scheduler", "worker"))
    worker._xray_recorder = seen = Seen()
    seen.broken = True
    hand_over(scheduler, worker)
    assert worker.get_transfer_results(set()).finished_recving == {"a"}
    assert "received of a was not recorded" in caplog.text
