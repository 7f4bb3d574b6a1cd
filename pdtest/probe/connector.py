"""Any of vLLM's connectors, with records of the KV that goes in and out of it: the X-ray.

Engines are told so in their --kv-transfer-config:

    kv_connector: NixlConnector      # as without; of a module of one's own: some.module:SomeConnector
    kv_connector_module_path: pdtest.probe.connector
    kv_connector_extra_config: {xray_directory: /some/where, ...}

vLLM looks the connector's class up in this module by its name, and gets a subclass of the very class that the
name stands for. So all that vLLM asks of the class (layouts, metrics, hybrid memory) is answered as without.

The scheduler's half knows prompts and blocks, the worker's half has the KV; the first sends what to look at
along with the connector's own metadata. Looked at is, on each tensor-parallel rank,

- a prompt's KV when the step that completes it is over: `published`;
- KV that was loaded, once the connector says that it is there (asynchronous loads), or when the step is over
  that it was loaded in (synchronous ones): `received`, cached tokens included.

An engine whose role is kv_consumer publishes nothing, a kv_producer receives nothing.
Facts: vLLM 0.32, v1/core/sched/scheduler.py and v1/worker/kv_connector_model_runner_mixin.py.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.logger import init_logger

from pdtest.probe.orders import Order, Orders
from pdtest.probe.records import Recorder

_log = init_logger("vllm.pdtest.xray")

#: Where the orders travel: an attribute of the connector's own metadata.
_ORDERS = "pdtest_xray_orders"


class Probe:
    """Comes before the connector's class; each half has its own instance."""

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any = None) -> None:
        super().__init__(vllm_config, role, kv_cache_config)  # type: ignore[call-arg]  # the connector's
        transfer = vllm_config.kv_transfer_config
        self._xray_directory = str(transfer.get_from_extra_config("xray_directory", ""))
        self._xray_orders = Orders(
            publishes=transfer.kv_role != "kv_consumer", receives=transfer.kv_role != "kv_producer"
        )
        self._xray_config = vllm_config, kv_cache_config
        self._xray_recorder: Recorder | None = None
        self._xray_step: list[Order] = []
        self._xray_awaited: dict[str, Order] = {}

    # The scheduler's half.

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> Any:
        """Note how much is there already, and whether the rest will come while others are computed."""
        found = super().get_num_new_matched_tokens(request, num_computed_tokens)  # type: ignore[misc]
        self._xray_orders.matched(request.request_id, num_computed_tokens, is_async=bool(found[1]))
        return found

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> Any:
        """Note what will be loaded, and into which blocks."""
        self._xray_orders.allocated(
            request.request_id, request.prompt_token_ids or (), blocks.get_block_ids(), num_external_tokens
        )
        return super().update_state_after_alloc(request, blocks, num_external_tokens)  # type: ignore[misc]

    def build_connector_meta(self, scheduler_output: Any) -> Any:
        """Send along what is to be looked at in this step."""
        meta = super().build_connector_meta(scheduler_output)  # type: ignore[misc]
        try:
            setattr(meta, _ORDERS, self._xray_orders.of_step(scheduler_output))
        except AttributeError:
            _log.warning_once("X-ray: no room in %s, nothing is recorded", type(meta).__name__)
        return meta

    # The worker's half.

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        """Remember the layers' memory."""
        super().register_kv_caches(kv_caches)  # type: ignore[misc]
        self._xray_recorder = Recorder.of(*self._xray_config, kv_caches, directory=self._xray_directory)

    def bind_connector_metadata(self, connector_metadata: Any) -> None:
        """Take the orders of this step."""
        super().bind_connector_metadata(connector_metadata)  # type: ignore[misc]
        orders: list[Order] = getattr(connector_metadata, _ORDERS, [])
        self._xray_step = [order for order in orders if not order.is_async]
        self._xray_awaited |= {order.sequence: order for order in orders if order.is_async}

    def wait_for_save(self) -> None:
        """The step is over: look at what it computed, and at what was loaded for it."""
        super().wait_for_save()  # type: ignore[misc]
        for order in self._xray_step:
            self._xray_record(order)
        self._xray_step = []

    def get_finished(self, finished_req_ids: set[str]) -> Any:
        """Look at what has arrived, before anything is computed with it (vLLM before 0.3x asks this way)."""
        sent, received = super().get_finished(finished_req_ids)  # type: ignore[misc]
        self._xray_arrived(received)
        return sent, received

    def get_transfer_results(self, finished_req_ids: set[str]) -> Any:
        """Look at what has arrived, before anything is computed with it."""
        results = super().get_transfer_results(finished_req_ids)  # type: ignore[misc]
        self._xray_arrived(results.finished_recving)
        return results

    def _xray_arrived(self, sequences: set[str] | None) -> None:
        for sequence in sequences or ():
            order = self._xray_awaited.pop(sequence, None)
            if order is not None:
                self._xray_record(order)

    def _xray_record(self, order: Order) -> None:
        if self._xray_recorder is None:
            return
        try:
            self._xray_recorder.record(order)
        except Exception:  # noqa: BLE001
            # What is looked at must not suffer from that.
            _log.exception("X-ray: %s of %s was not recorded", order.side, order.sequence)


@cache
def _probed(name: str) -> type[Any]:
    """The connector of that name, with the probe before it. It keeps its name, which vLLM compares."""
    module, _, own = name.rpartition(":")
    known = KVConnectorFactory.get_connector_class_by_name
    inner = getattr(import_module(module), own) if module else known(name)
    kept = {"__module__": inner.__module__, "__qualname__": inner.__qualname__, "__doc__": inner.__doc__}
    return type(inner.__name__, (Probe, inner), kept)


def __getattr__(name: str) -> Any:
    """Any connector's name is one of this module's."""
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return _probed(name)
    except (ValueError, ImportError) as error:
        raise AttributeError(f"X-ray: there is no connector {name!r}: {error}") from error
