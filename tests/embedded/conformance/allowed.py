"""Where the embedded engine may answer otherwise than vLLM 0.32, and why."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

_KV = "exported with a connector only; the recording is of an engine without one"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """``cases``: names, with wildcards. ``where``: `status`, `param`, or the end of a path in the body."""

    cases: str
    where: str
    why: str


ALLOWED = (
    Difference(
        cases="stream-logprobs-many",
        where="status",
        why="vLLM looks at this when the status is out: 200 and an error event. Here it is a plain error",
    ),
    Difference(
        cases="stream-token-unknown",
        where="status",
        why="as for log-probabilities",
    ),
    Difference(
        cases="chat-*",
        where="param",
        why="pydantic names the classes of messages that it tried, in the middle of the path",
    ),
    Difference(
        cases="stop-list-of-numbers",
        where="param",
        why="pydantic names the list for which a string could stand; here it is the item that is wrong",
    ),
    Difference(cases="metrics", where="vllm:num_requests_kv_fetch_by_stage", why=_KV),
    Difference(
        cases="metrics",
        where="vllm:cache_config_info",
        why="its labels are vLLM's configuration; here those that readers of the metrics look for",
    ),
)


def allowed(case: str, where: str) -> bool:
    """Whether there is a reason for a difference."""
    return any(_fits(difference, case, where) for difference in ALLOWED)


def _fits(difference: Difference, case: str, where: str) -> bool:
    return fnmatchcase(case, difference.cases) and where.endswith(difference.where)
