"""MooncakeConnectorV1 of vllm-ascend: the pull of NIXL, with fields of its own and without heartbeats.

Modelled on vllm-ascend (August 2026), kv_p2p/mooncake_connector.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from pdtest.embedded.connectors import params as read
from pdtest.embedded.connectors.nixl import NixlConnector
from pdtest.embedded.connectors.options import BadConfig
from pdtest.embedded.connectors.transfer_metrics import Instruments, MooncakeMetrics, TransferMetrics
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.engine.sequence import Sequence as EngineSequence

_ABORT_VARIABLE = "VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT"
_ABORT_S = 480.0


def abort_timeout_s() -> float:
    """How long Mooncake's connectors hold blocks, and wait for a peer. Raises BadConfig."""
    said = os.environ.get(_ABORT_VARIABLE, "")
    try:
        seconds = float(said or _ABORT_S)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise BadConfig(_ABORT_VARIABLE, "seconds above 0", said)
    return seconds


class MooncakeConnectorV1(NixlConnector):
    """Blocks are held for VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT seconds (480), and nothing prolongs that."""

    #: A prompt whose first token ends it is not handed over, and its blocks go at once.
    handed_over: ClassVar[frozenset[Finish]] = frozenset({Finish.LENGTH})

    def _lease_s(self, extra: Mapping[str, Any]) -> float:  # noqa: ARG002
        return abort_timeout_s()

    def _heartbeat_s(self, lease_s: float) -> float | None:  # noqa: ARG002
        return None

    def _counters(self) -> TransferMetrics:
        return MooncakeMetrics(Instruments(self._host.registry, self._host.labels))

    def _ranks_there(self, params: Mapping[str, Any]) -> int | None:
        return read.count(params, "remote_ptp_size", least=1) if "remote_ptp_size" in params else None

    def _said_besides(self, sequence: EngineSequence) -> dict[str, Any]:
        return {
            "remote_pcp_size": 1,
            "remote_dcp_size": 1,
            "remote_ptp_size": len(self._host.memories),
            "last_token_id": sequence.output[-1],
            "remote_multi_nodes_meta_mapping": {
                str(rank): {"host": self._host.address, "engine_id": self._host.engine_id}
                for rank in range(len(self._host.memories))
            },
            "num_prompt_blocks": -(-len(sequence.prompt) // self._host.block_size),
            "remote_block_size": self._host.block_size,
        }
