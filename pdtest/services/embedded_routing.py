"""The embedded proxy's flags that the `routing:` of an environment stands for."""

from __future__ import annotations

from typing import Any

from pdtest.environment.routing import ByPhase, Routing, Scaling


def routing_flags(routing: Routing) -> dict[str, Any]:
    """What was said, as flags without dashes. What was not said is left to the proxy, and to `args:`."""
    flags: dict[str, Any] = {} if routing.phase is None else _phase_flags(routing.phase)
    if routing.prefill is not None:
        flags["prefill-policy"] = routing.prefill.value
    if routing.decode is not None:
        flags["decode-policy"] = routing.decode.value
    if routing.session is not None:
        flags |= {"session-header": routing.session.header, "session-idle": routing.session.idle_s}
    if "overload" in routing.model_fields_set:
        flags["overload"] = routing.overload
    return flags if routing.scaling is None else flags | _scaling_flags(routing.scaling)


def _phase_flags(phase: ByPhase) -> dict[str, Any]:
    flags: dict[str, Any] = {
        "phase-policy": phase.policy,
        "input-threshold": phase.input_threshold,
        "ratio": phase.ratio,
    }
    return flags if phase.policy == "threshold" else flags | {"flex": phase.flex}


def _scaling_flags(scaling: Scaling) -> dict[str, Any]:
    sides = {"prefill": scaling.prefill, "decode": scaling.decode}
    flags: dict[str, Any] = {
        f"scale-{side}": [bounds.least, bounds.most] for side, bounds in sides.items() if bounds is not None
    }
    return flags | {"scale-busy": scaling.busy, "scale-idle": scaling.idle, "scale-over": scaling.over_s}
