"""All that can be set about how requests are routed."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from pdtest.embedded.proxy.instances import Side
from pdtest.embedded.proxy.routing.wanted import Bounds


@dataclass(frozen=True, kw_only=True)
class RoutingSettings:
    """``policy`` says which instance gets a request, the others which one of a side.

    ``phase`` is None where every request is handed over. ``input_threshold`` is in tokens, ``ratio`` in
    tokens of prompt per token of answer. ``session_header`` is None where requests do not belong together.
    ``recall_s`` is for how long answers are remembered, ``busy_window_s`` the time of which busy shares are.
    ``scale_prefill`` and ``scale_decode`` are the least and the most instances, None where they do not
    change.
    """

    policy: str = "round_robin"
    prefill_policy: str | None = None
    decode_policy: str | None = None
    phase: str | None = None
    input_threshold: int = 800
    ratio: float = 4.0
    flex: float = 2.0
    recall_s: float = 5.0
    busy_window_s: float = 2.0
    overload: float = 0.95
    scale_prefill: tuple[int, int] | None = None
    scale_decode: tuple[int, int] | None = None
    scale_busy: float = 0.8
    scale_idle: float = 0.2
    scale_over_s: float = 2.0
    session_header: str | None = None
    session_idle_s: float = 60.0
    fault: str = ""

    def policy_of(self, side: Side) -> str:
        """The name of one side's policy. Hybrid instances generate, and go by decode's."""
        return (self.prefill_policy if side is Side.PREFILL else self.decode_policy) or self.policy

    def bounds_of(self, side: Side) -> Bounds | None:
        """Between how many and how many instances of a side there are to be."""
        scale = {Side.PREFILL: self.scale_prefill, Side.DECODE: self.scale_decode}.get(side)
        if scale is None:
            return None
        least, most = scale
        return Bounds(
            least=least, most=most, busy=self.scale_busy, idle=self.scale_idle, over_s=self.scale_over_s
        )

    @classmethod
    def of(cls, options: argparse.Namespace) -> RoutingSettings:
        """From what `flags.add_flags` has parsed."""
        return cls(
            policy=options.policy,
            prefill_policy=options.prefill_policy,
            decode_policy=options.decode_policy,
            phase=options.phase_policy,
            input_threshold=options.input_threshold,
            ratio=options.ratio,
            flex=options.flex,
            recall_s=options.recall,
            busy_window_s=options.busy_window,
            overload=options.overload,
            scale_prefill=options.scale_prefill,
            scale_decode=options.scale_decode,
            scale_busy=options.scale_busy,
            scale_idle=options.scale_idle,
            scale_over_s=options.scale_over,
            session_header=options.session_header,
            session_idle_s=options.session_idle,
            fault=options.fault_routing,
        )
