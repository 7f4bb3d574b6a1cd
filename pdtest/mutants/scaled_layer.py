"""A NIXL connector that gets one layer slightly wrong: every value it received there times 1.01.

Real bugs look like this: a quantisation scale applied twice, a layer's scale taken from its neighbour.
All greedy tokens usually stay the same, so a test that compares texts is green.

Seen with vLLM 0.32 on CPU: log-probabilities move by about 1e-2. Settings under
`kv_connector_extra_config`: `scaled_layer` (which, default 1), `scale` (default 1.01).
"""

from __future__ import annotations

from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.nixl import NixlConnector


class ScaledLayerConnector(NixlConnector):  # type: ignore[misc]  # vLLM is not installed where this is checked
    """Receives as NixlConnector does, then scales one layer of the blocks that arrived."""

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        settings = vllm_config.kv_transfer_config
        self._layer = int(settings.get_from_extra_config("scaled_layer", 1))
        self._scale = float(settings.get_from_extra_config("scale", 1.01))
        self._num_blocks = kv_cache_config.num_blocks
        self._caches: list[Any] = []
        self._awaited: dict[str, list[int]] = {}

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        """Remember the layers' tensors, in the model's order."""
        self._caches = list(kv_caches.values())
        super().register_kv_caches(kv_caches)

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Remember which blocks each request is about to receive."""
        for request, meta in self._connector_metadata.reqs_to_recv.items():
            self._awaited[request] = [block for group in meta.local_block_ids for block in group]
        super().start_load_kv(forward_context, **kwargs)

    def get_transfer_results(self, finished_req_ids: set[str]) -> Any:
        """Spoil what has arrived before the model sees it."""
        results = super().get_transfer_results(finished_req_ids)
        for request in results.finished_recving:
            self._spoil(self._awaited.pop(request, []))
        return results

    def _spoil(self, blocks: list[int]) -> None:
        cache = self._caches[self._layer]
        # Layouts differ between attention backends; the axis of the blocks is the one of their number.
        axis = list(cache.shape).index(self._num_blocks)
        for block in blocks:
            cache.select(axis, block).mul_(self._scale)
