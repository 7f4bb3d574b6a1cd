"""pdtest: integration tests for LLM serving with disaggregated prefill and decode.

The names that tests need, whatever room they live in. They are loaded at first use: the reaper, which
must be up within a moment, runs from this package too and needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdtest.client.errors import (
        BrokenStream,
        HttpStatusError,
        MalformedAnswer,
        MemberGone,
        RequestFailed,
        RequestTimedOut,
        Unreachable,
    )
    from pdtest.client.handoff import Handoff, Route
    from pdtest.client.prompts import Prompts
    from pdtest.client.request import Request
    from pdtest.environment.schema import Environment, Outcome, Role
    from pdtest.errors import PdtestError
    from pdtest.oracle.errors import Failed, Inconclusive
    from pdtest.oracle.verdict import Ruling, Verdict
    from pdtest.oracle.volley import Volley

_HOMES = {
    "pdtest.client.errors": (
        "BrokenStream",
        "HttpStatusError",
        "MalformedAnswer",
        "MemberGone",
        "RequestFailed",
        "RequestTimedOut",
        "Unreachable",
    ),
    "pdtest.client.handoff": ("Handoff", "Route"),
    "pdtest.client.prompts": ("Prompts",),
    "pdtest.client.request": ("Request",),
    "pdtest.environment.schema": ("Environment", "Outcome", "Role"),
    "pdtest.errors": ("PdtestError",),
    "pdtest.oracle.errors": ("Failed", "Inconclusive"),
    "pdtest.oracle.verdict": ("Ruling", "Verdict"),
    "pdtest.oracle.volley": ("Volley",),
}

__all__ = [
    "BrokenStream",
    "Environment",
    "Failed",
    "Handoff",
    "HttpStatusError",
    "Inconclusive",
    "MalformedAnswer",
    "MemberGone",
    "Outcome",
    "PdtestError",
    "Prompts",
    "Request",
    "RequestFailed",
    "RequestTimedOut",
    "Role",
    "Route",
    "Ruling",
    "Unreachable",
    "Verdict",
    "Volley",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'pdtest' has no attribute {name!r}")
