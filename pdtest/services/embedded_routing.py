"""The embedded proxy's flags that the `routing:` of an environment stands for."""

from __future__ import annotations

from typing import Any

from pdtest.environment.routing import ByPhase, Routing


def routing_flags(routing: Routing) -> dict[str, Any]:
    """What was said, as flags without dashes. What was not said is left to the proxy, and to `args:`."""
    flags: dict[str, Any] = {} if routing.phase is None else _phase_flags(routing.phase)
    if routing.prefill is not None:
        flags["prefill-policy"] = routing.prefill.value
    if routing.decode is not None:
        flags["decode-policy"] = routing.decode.value
    if routing.session is not None:
        flags |= {"session-header": routing.session.header, "session-idle": routing.session.idle_s}
    return flags


def _phase_flags(phase: ByPhase) -> dict[str, Any]:
    flags: dict[str, Any] = {
        "phase-policy": phase.policy,
        "input-threshold": phase.input_threshold,
        "ratio": phase.ratio,
    }
    return flags if phase.policy == "threshold" else flags | {"flex": phase.flex}
