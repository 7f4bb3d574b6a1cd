"""Any of vLLM's connectors with a planted bug: what decode receives is wrong when the model sees it.

Engines are told so in their --kv-transfer-config:

    kv_connector: NixlConnector      # as without
    kv_connector_module_path: pdtest.mutants.connector
    kv_connector_extra_config: {fault_transfer: "scaled,layer=1"}      # or @ and a file with such a text

The words are those of the embedded engine's --fault-transfer (pdtest/mutants/corruptions.py). A file is
read anew for each request that loads KV, so that bugs can be changed while the engine runs; absent or empty,
all is healthy.

As with the X-ray (pdtest/probe/connector.py), whose orders and layouts serve here, too: the scheduler's half
knows prompts and blocks, the worker's half has the KV. What is in the blocks before is kept from the step
that starts the load. They are spoiled once the connector says that all is there, or, where loads are
synchronous, when `start_load_kv` returns. With both the X-ray is told `pdtest.mutants.connector:...`.
Facts: vLLM 0.32, v1/worker/kv_connector_model_runner_mixin.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory

from pdtest.mutants.corruptions import Array, Corruption
from pdtest.probe.layout import Layout, layout_of
from pdtest.probe.orders import Order, Orders

#: Where the orders travel: an attribute of the connector's own metadata.
_ORDERS = "pdtest_mutant_orders"
_WITH_HEADS = 4


@dataclass(kw_only=True)
class Switch:
    """Which corruption there is at the moment, and whether its time has come. ``how``: as the module says."""

    how: str
    _text: str = ""
    _corruption: Corruption | None = None
    _loads: int = 0

    def read(self) -> Corruption | None:
        """For one load more; None: it is to be left as it is. Raises BadCorruption."""
        file = Path(self.how[1:]) if self.how.startswith("@") else None
        text = self.how if file is None else file.read_text(encoding="utf-8").strip() if file.exists() else ""
        if text != self._text:
            self._text, self._loads = text, 0
            self._corruption = Corruption.read(text) if text else None
        self._loads += 1
        return self._corruption if self._corruption and self._loads > self._corruption.after else None


@dataclass(frozen=True, kw_only=True)
class Memory:
    """A worker's KV. ``places``: of each number of a block, half by half and token by token, where it is."""

    layers: list[Any]
    layout: Layout
    places: npt.NDArray[np.int64]

    @classmethod
    def of(cls, vllm_config: Any, kv_cache_config: Any, caches: Mapping[str, Any]) -> Memory:
        """Of the layers that a worker registers, in the model's order. Raises ValueError without K and V."""
        layers = list(caches.values())
        layout = layout_of(vllm_config, kv_cache_config, layers[0])
        block = layers[0].movedim(layout.block_axis, 0)[:1]
        if block.ndim < _WITH_HEADS:
            raise ValueError(f"expected KV with heads to plant bugs in, got blocks of {tuple(block.shape)}")
        # Numbered, then taken apart as rows are: so that what is read can be written back.
        numbered = np.arange(block.numel()).reshape(tuple(block.shape))
        return cls(layers=layers, layout=layout, places=np.stack(layout.split(numbered)))

    def read(self, blocks: list[int]) -> Array:
        """Their content (layers, 2, blocks, block_size, heads, head_dim), with the memory's own blocks."""
        return np.stack([self._content(layer, blocks)[:, self.places] for layer in self.layers]).swapaxes(
            1, 2
        )

    def write(self, blocks: list[int], content: Array) -> None:
        """The other way round."""
        for layer, rows in zip(self.layers, content.swapaxes(1, 2), strict=True):
            whole = self._content(layer, blocks)
            whole[:, self.places] = rows
            view = layer.movedim(self.layout.block_axis, 0)
            view[blocks] = view.new_tensor(whole).reshape(len(blocks), *view.shape[1:])

    def _content(self, layer: Any, blocks: list[int]) -> Array:
        chosen = layer.movedim(self.layout.block_axis, 0)[blocks]
        return chosen.float().cpu().numpy().reshape(len(blocks), -1)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class _Load:
    """Under way: into which blocks, what was there before, and what is to become of it."""

    blocks: list[int]
    before: Array
    corruption: Corruption


@dataclass(kw_only=True)
class _Worker:
    """The worker's half: its memory, and the loads under way by sequence."""

    memory: Memory
    block_size: int
    loads: dict[str, _Load] = field(default_factory=dict)

    def begin(self, order: Order, corruption: Corruption) -> None:
        """Remember what is there now."""
        first, end = order.cached // self.block_size, -(-len(order.tokens) // self.block_size)
        parts = self.memory.layout.parts
        (group, *_) = order.blocks
        blocks = [block * parts + part for block in group[first:end] for part in range(parts)]
        if blocks:
            before = self.memory.read(blocks)
            self.loads[order.sequence] = _Load(blocks=blocks, before=before, corruption=corruption)

    def forget(self, sequence: str) -> None:
        """It will not arrive any more."""
        self.loads.pop(sequence, None)

    def spoil(self, sequence: str) -> None:
        """It has arrived."""
        load = self.loads.pop(sequence, None)
        if load is not None:
            received = self.memory.read(load.blocks)
            self.memory.write(load.blocks, load.corruption.apply(received, load.before))


class Mutated:
    """Comes before the connector's class; each half has its own instance."""

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any = None) -> None:
        super().__init__(vllm_config, role, kv_cache_config)  # type: ignore[call-arg]  # the connector's
        how = vllm_config.kv_transfer_config.get_from_extra_config("fault_transfer", "")
        self._mutant_switch = Switch(how=str(how))
        self._mutant_orders = Orders(publishes=False, receives=True)
        self._mutant_config = vllm_config, kv_cache_config
        self._mutant_worker: _Worker | None = None
        self._mutant_step: list[str] = []

    # The scheduler's half.

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> Any:
        """Note how much is there already."""
        found = super().get_num_new_matched_tokens(request, num_computed_tokens)  # type: ignore[misc]
        self._mutant_orders.matched(request.request_id, num_computed_tokens, is_async=bool(found[1]))
        return found

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> Any:
        """Note what will be loaded, and into which blocks."""
        self._mutant_orders.allocated(
            request.request_id, request.prompt_token_ids or (), blocks.get_block_ids(), num_external_tokens
        )
        return super().update_state_after_alloc(request, blocks, num_external_tokens)  # type: ignore[misc]

    def build_connector_meta(self, scheduler_output: Any) -> Any:
        """Send along what will be loaded."""
        meta = super().build_connector_meta(scheduler_output)  # type: ignore[misc]
        setattr(meta, _ORDERS, self._mutant_orders.of_step(scheduler_output))
        return meta

    # The worker's half.

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        """Remember the layers' memory."""
        super().register_kv_caches(kv_caches)  # type: ignore[misc]
        vllm_config, kv_cache_config = self._mutant_config
        self._mutant_worker = _Worker(
            memory=Memory.of(vllm_config, kv_cache_config, kv_caches),
            block_size=vllm_config.cache_config.block_size,
        )

    def bind_connector_metadata(self, connector_metadata: Any) -> None:
        """The step's loads have not begun: keep what is in their blocks."""
        super().bind_connector_metadata(connector_metadata)  # type: ignore[misc]
        self._mutant_step = []
        for order in getattr(connector_metadata, _ORDERS, ()):
            corruption = self._mutant_switch.read() if len(order.tokens) > order.cached else None
            if corruption is not None and self._mutant_worker is not None:
                self._mutant_worker.begin(order, corruption)
                self._mutant_step += () if order.is_async else (order.sequence,)

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Spoil what is loaded at once."""
        super().start_load_kv(forward_context, **kwargs)  # type: ignore[misc]
        self._mutant_arrived(self._mutant_step)

    def get_finished(self, finished_req_ids: set[str]) -> Any:
        """Spoil what has arrived before the model sees it (vLLM before 0.3x asks this way)."""
        sent, received = super().get_finished(finished_req_ids)  # type: ignore[misc]
        self._mutant_arrived(received)
        return sent, received

    def get_transfer_results(self, finished_req_ids: set[str]) -> Any:
        """Spoil what has arrived before the model sees it."""
        results = super().get_transfer_results(finished_req_ids)  # type: ignore[misc]
        self._mutant_arrived(results.finished_recving)
        for sequence in finished_req_ids:
            if self._mutant_worker is not None:
                self._mutant_worker.forget(sequence)
        return results

    def _mutant_arrived(self, sequences: Any) -> None:
        for sequence in sequences or ():
            if self._mutant_worker is not None:
                self._mutant_worker.spoil(sequence)


@cache
def _mutated(name: str) -> type[Any]:
    """The connector of that name, with the bug before it. It keeps its name, which vLLM compares."""
    inner = KVConnectorFactory.get_connector_class_by_name(name)
    kept = {"__module__": inner.__module__, "__qualname__": inner.__qualname__, "__doc__": inner.__doc__}
    return type(inner.__name__, (Mutated, inner), kept)


def __getattr__(name: str) -> Any:
    """Any connector's name is one of this module's."""
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return _mutated(name)
    except (ValueError, ImportError) as error:
        raise AttributeError(f"there is no connector {name!r} to plant a bug in: {error}") from error
