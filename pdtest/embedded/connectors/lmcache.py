"""LMCacheConnectorV1 over storage that all engines share: chunks of KV by their content.

Modelled on LMCache 0.5.6, integration/vllm/vllm_v1_adapter.py. Its store is the embedded one, and an answer
waits until its chunks are saved, as with AscendStoreConnector; with LMCache nothing waits. Its PD mode, in
which prefill pushes into decode's buffer and tells a proxy over ZMQ, is not here: a request that asks
for that is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdtest.embedded.connectors import params as read
from pdtest.embedded.connectors.connector import Handover, Host
from pdtest.embedded.connectors.options import BadConfig, extra_config, word
from pdtest.embedded.connectors.store import AscendStoreConnector, Joins
from pdtest.embedded.connectors.transfer_metrics import Instruments, LMCacheMetrics
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.store.client import StoreClient

_SCHEME = "lm://"
_CHUNK = 256


class LMCacheConnectorV1(AscendStoreConnector):
    """An engine of role kv_producer loads nothing, one of role kv_consumer saves nothing.

    kv_connector_extra_config: ``lmcache.remote_url``, lm://host:port of the pool's meta process;
    ``lmcache.chunk_size``, which must be the engine's block size; ``segment_bytes`` as for the store.
    """

    def __init__(self, config: Mapping[str, Any], host: Host, join: Joins = StoreClient) -> None:
        super().__init__(config, host, join)
        size = extra_config(config).get("lmcache.chunk_size", _CHUNK)
        if size != host.block_size:
            expected = f"{host.block_size}, the engine's block size"
            raise BadConfig("kv_connector_extra_config.lmcache.chunk_size", expected, size)

    def _duties(self, config: Mapping[str, Any], extra: Mapping[str, Any]) -> tuple[bool, bool]:  # noqa: ARG002
        role = config.get("kv_role")
        return role != "kv_producer", role != "kv_consumer"

    def _address(self, extra: Mapping[str, Any]) -> str:
        url = word(extra, "lmcache.remote_url")
        if not url.startswith(_SCHEME):
            raise BadConfig("kv_connector_extra_config.lmcache.remote_url", f"{_SCHEME}host:port", url)
        return url.removeprefix(_SCHEME)

    def _counters(self) -> LMCacheMetrics:
        return LMCacheMetrics(Instruments(self._host.registry, self._host.labels), self._host.block_size)

    async def match(self, sequence: EngineSequence, cached: int) -> int:
        """As of the store. Raises BadParams for a request of the PD mode."""
        asked = sequence.kv_transfer_params or {}
        if "disagg_spec" in asked:
            raise read.BadParams(
                "disagg_spec", "none: this engine pushes to no receiver", asked["disagg_spec"]
            )
        return await super().match(sequence, cached)

    def finished(self, sequence: EngineSequence) -> Handover:
        """The first token, where it is asked for."""
        handover = super().finished(sequence)
        if "ret_first_tok" not in (sequence.kv_transfer_params or {}) or not sequence.output:
            return handover
        return Handover(params={"first_tok": sequence.output[0]}, answer_after=handover.answer_after)
