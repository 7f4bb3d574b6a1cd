"""The flags that set how requests are routed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from pdtest.embedded.proxy.instances import Side
from pdtest.embedded.proxy.request import SESSION_HEADER
from pdtest.embedded.proxy.routing.faults import KINDS
from pdtest.embedded.proxy.routing.settings import RoutingSettings
from pdtest.embedded.switch import word_or_file

#: What ``--phase-policy`` takes.
PHASES = ("threshold", "adaptive")
_DEFAULTS = RoutingSettings()


def add_flags(parser: argparse.ArgumentParser, policies: Sequence[str]) -> None:
    """The flags of routing, in groups of their own."""
    _add_spread(parser, policies)
    _add_phases(parser)
    _add_scaling(parser)
    parser.add_argument_group("tests of tests").add_argument(
        "--fault-routing",
        type=word_or_file(KINDS),
        default=_DEFAULTS.fault,
        metavar="KIND|@FILE",
        help="a planted bug, or a file that says which there is at the moment: "
        + "; ".join(f"{kind}: {about}" for kind, about in KINDS.items()),
    )


def _add_spread(parser: argparse.ArgumentParser, policies: Sequence[str]) -> None:
    add = parser.add_argument_group("which instance").add_argument
    add(
        "--policy",
        choices=sorted(policies),
        default=_DEFAULTS.policy,
        help="round_robin: in turn. random. least_loaded: fewest requests in flight. power_of_two: the less "
        "loaded of two by chance. kv_length: fewest tokens in flight, prompts and what was generated so far. "
        "cache_aware: who was sent the longest part of the prompt before, if that is over 30 %% of it and "
        "the load is balanced; else the least loaded. consistent_hash: the same for the same session, or "
        f"beginning of the prompt ({_DEFAULTS.policy})",
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
        default=_DEFAULTS.session_idle_s,
        metavar="SECONDS",
        help=f"a session that is silent for so long starts anew ({_DEFAULTS.session_idle_s:g})",
    )


def _add_phases(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("which way").add_argument
    add(
        "--phase-policy",
        choices=PHASES,
        help="threshold: prompts that are long and one-sided are handed over from prefill to decode, those "
        "that are neither are left to a decode instance, others to a hybrid; an answer counts as long as it "
        "may become. adaptive: it counts as long as answers were of late, and the more prefill has to do "
        "than decode, the longer is a long prompt (all are handed over)",
    )
    add(
        "--input-threshold",
        type=_positive_int,
        default=_DEFAULTS.input_threshold,
        metavar="TOKENS",
        help=f"a prompt of so many tokens is long ({_DEFAULTS.input_threshold})",
    )
    add(
        "--ratio",
        type=_positive,
        default=_DEFAULTS.ratio,
        metavar="X",
        help=f"one-sided: so many tokens of prompt per token of answer ({_DEFAULTS.ratio:g})",
    )
    add(
        "--flex",
        type=_at_least_one,
        default=_DEFAULTS.flex,
        metavar="X",
        help=f"adaptive: a long prompt is so many times longer at the most, or shorter ({_DEFAULTS.flex:g})",
    )
    add(
        "--recall",
        type=_positive,
        default=_DEFAULTS.recall_s,
        metavar="SECONDS",
        help=f"adaptive: answers that are older do not count ({_DEFAULTS.recall_s:g})",
    )
    add(
        "--busy-window",
        type=_positive,
        default=_DEFAULTS.busy_window_s,
        metavar="SECONDS",
        help=f"how busy an instance is, is said of its last so many seconds ({_DEFAULTS.busy_window_s:g})",
    )
    add(
        "--overload",
        type=_share,
        default=_DEFAULTS.overload,
        metavar="SHARE",
        help=f"a prefill instance that is busier than this is overloaded ({_DEFAULTS.overload:g})",
    )


def _add_scaling(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how many instances").add_argument
    for side in (Side.PREFILL, Side.DECODE):
        add(
            f"--scale-{side}",
            nargs=2,
            type=_positive_int,
            action=_InOrder,
            metavar=("LEAST", "MOST"),
            help=f"how few and how many {side} instances there may be; see /scaling (they stay)",
        )
    for name, share, more in (
        ("busy", _DEFAULTS.scale_busy, "one more is wanted, where they are as busy as this or busier"),
        ("idle", _DEFAULTS.scale_idle, "one less is wanted, where they are no busier than this"),
    ):
        add(f"--scale-{name}", type=_share, default=share, metavar="SHARE", help=f"{more} ({share:g})")
    add(
        "--scale-over",
        type=_positive,
        default=_DEFAULTS.scale_over_s,
        metavar="SECONDS",
        help=f"and have been so for this long ({_DEFAULTS.scale_over_s:g})",
    )


class _InOrder(argparse.Action):
    """Two numbers, of which the first is not the larger one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        least, most = values
        if least > most:
            parser.error(f"{option_string}: expected LEAST to be at most MOST, seen {least} and {most}")
        setattr(namespace, self.dest, (least, most))


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


def _at_least_one(text: str) -> float:
    number = _positive(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, seen {text}")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, seen {text}")
    return number
