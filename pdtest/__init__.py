"""pdtest: integration tests for LLM serving with disaggregated prefill and decode.

The names that tests need, whatever room they live in.
"""

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
