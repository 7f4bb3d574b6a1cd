"""The counters that tell what a connector did, and on which side to read them.

Names are those of vLLM's ``/metrics`` without the ``_total`` that Prometheus adds to counters. A
counter that a server does not export is *absent*, which proves nothing either way; the oracle must
not read it as zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pdtest.environment.schema import Role


@dataclass(frozen=True, kw_only=True)
class Counter:
    """One number of a member's metrics: a counter, or the ``_sum`` or ``_count`` of a histogram.

    ``role`` says which side exports it, ``unit`` what it counts in (tokens, bytes, requests ...). ``drift``
    marks one that only some generations of a connector export: where it is absent nothing is left open.
    """

    name: str
    role: Role
    unit: str
    meaning: str
    labels: Mapping[str, str] = field(default_factory=dict)
    drift: bool = False

    def __str__(self) -> str:
        labels = ",".join(f"{key}={value}" for key, value in self.labels.items())
        return f"{self.name}{{{labels}}}" if labels else self.name


@dataclass(frozen=True, kw_only=True)
class TokenSources:
    """Where the tokens of a prompt came from. The three add up to the prompt's length.

    They say the same as the three fields of `pdtest.wire.contract.Demand`.
    """

    transferred: Counter
    cached: Counter
    computed: Counter


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What can be asked about a transfer, strongest first. None: the connector does not tell."""

    tokens: TokenSources
    #: Bytes that arrived.
    moved: Counter | None = None
    #: Transfers that succeeded; one per rank of the side that counts.
    transfers: Counter | None = None
    #: Seconds that those took, added up: transfers at once count one by one.
    seconds: Counter | None = None
    #: Tokens that the connector promised to the scheduler. Rises on failed loads too: never a proof.
    promised: Counter | None = None
    #: Rise when a transfer fails.
    failures: tuple[Counter, ...] = ()
    #: Rises when blocks are read that prefill had given up, or given to another reader before.
    late: Counter | None = None
    #: Rises when the prefill side gives up waiting for the decode side and frees the blocks.
    expired: Counter | None = None


_BY_SOURCE = "vllm:prompt_tokens_by_source"

#: What every vLLM engine with a connector exports (vLLM 0.32, v1/metrics/stats.py). Decode counts a
#: prompt once, when it is first scheduled, from what the connector promised, before anything moved.
VLLM_TOKENS = TokenSources(
    transferred=Counter(
        name=_BY_SOURCE,
        role=Role.DECODE,
        unit="tokens",
        meaning="prompt tokens whose KV came through the connector",
        labels={"source": "external_kv_transfer"},
    ),
    cached=Counter(
        name=_BY_SOURCE,
        role=Role.DECODE,
        unit="tokens",
        meaning="prompt tokens found in the engine's own prefix cache",
        labels={"source": "local_cache_hit"},
    ),
    computed=Counter(
        name=_BY_SOURCE,
        role=Role.DECODE,
        unit="tokens",
        meaning="prompt tokens that the engine prefilled itself",
        labels={"source": "local_compute"},
    ),
)

VLLM_PROMISED = Counter(
    name="vllm:external_prefix_cache_hits",
    role=Role.DECODE,
    unit="tokens",
    meaning="tokens that the connector promised, whether or not they arrived",
)
