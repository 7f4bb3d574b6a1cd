"""All that can be set about how requests are routed, and the flags that set it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from pdtest.embedded.proxy.instances import Side
from pdtest.embedded.proxy.request import SESSION_HEADER
from pdtest.embedded.proxy.routing.faults import KINDS, BadFault, checked

#: What ``--phase-policy`` takes.
PHASES = ("threshold",)


@dataclass(frozen=True, kw_only=True)
class RoutingSettings:
    """``policy`` says which instance gets a request, the others which one of a side.

    ``phase`` is None where every request is handed over. ``input_threshold`` is in tokens, ``ratio`` in
    tokens of prompt per token of answer. ``session_header`` is None where requests do not belong together.
    """

    policy: str = "round_robin"
    prefill_policy: str | None = None
    decode_policy: str | None = None
    phase: str | None = None
    input_threshold: int = 800
    ratio: float = 4.0
    session_header: str | None = None
    session_idle_s: float = 60.0
    fault: str = ""

    def policy_of(self, side: Side) -> str:
        """The name of one side's policy. Hybrid instances generate, and go by decode's."""
        return (self.prefill_policy if side is Side.PREFILL else self.decode_policy) or self.policy

    @classmethod
    def of(cls, options: argparse.Namespace) -> RoutingSettings:
        """From what `add_flags` has parsed."""
        return cls(
            policy=options.policy,
            prefill_policy=options.prefill_policy,
            decode_policy=options.decode_policy,
            phase=options.phase_policy,
            input_threshold=options.input_threshold,
            ratio=options.ratio,
            session_header=options.session_header,
            session_idle_s=options.session_idle,
            fault=options.fault_routing,
        )


def add_flags(parser: argparse.ArgumentParser, policies: Sequence[str]) -> None:
    """The flags of routing, in groups of their own."""
    defaults = RoutingSettings()
    add = parser.add_argument_group("which instance").add_argument
    add(
        "--policy",
        choices=sorted(policies),
        default=defaults.policy,
        help="round_robin: in turn. random. least_loaded: fewest requests in flight. power_of_two: the less "
        "loaded of two by chance. kv_length: fewest tokens in flight, prompts and what was generated so far. "
        "cache_aware: who was sent the longest part of the prompt before, if that is over 30 %% of it and "
        "the load is balanced; else the least loaded. consistent_hash: the same for the same session, or "
        f"beginning of the prompt ({defaults.policy})",
    )
    for side in (Side.PREFILL, Side.DECODE):
        and_hybrids = " and of hybrids" if side is Side.DECODE else ""
        add(
            f"--{side}-policy",
            choices=sorted(policies),
            help=f"of the {side} instances{and_hybrids} (as --policy)",
        )
    add(
        "--session-header",
        metavar="NAME",
        help="requests that bring the same value in this header go to the same instances (none; "
        f"consistent_hash looks at {SESSION_HEADER})",
    )
    add(
        "--session-idle",
        type=_positive,
        default=defaults.session_idle_s,
        metavar="SECONDS",
        help=f"a session that is silent for so long starts anew ({defaults.session_idle_s:g})",
    )
    add = parser.add_argument_group("which way").add_argument
    add(
        "--phase-policy",
        choices=PHASES,
        help="threshold: prompts that are long and one-sided are handed over from prefill to decode, those "
        "that are neither are left to a decode instance, others to a hybrid (all are handed over)",
    )
    add(
        "--input-threshold",
        type=_positive_int,
        default=defaults.input_threshold,
        metavar="TOKENS",
        help=f"a prompt of so many tokens is long ({defaults.input_threshold})",
    )
    add(
        "--ratio",
        type=_positive,
        default=defaults.ratio,
        metavar="X",
        help=f"one-sided: so many tokens of prompt per token of answer ({defaults.ratio:g})",
    )
    parser.add_argument_group("tests of tests").add_argument(
        "--fault-routing",
        type=_fault,
        default=defaults.fault,
        metavar="KIND|@FILE",
        help="a planted bug, or a file that says which there is at the moment: "
        + "; ".join(f"{kind}: {about}" for kind, about in KINDS.items()),
    )


def _fault(text: str) -> str:
    try:
        return text if text.startswith("@") else checked(text)
    except BadFault as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive_int(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, seen {text}")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected more than 0, seen {text}")
    return number
