"""The load that a client puts on a deployment, what is watched meanwhile, and what must come of it.

The defaults are those of the client-orchestrated test: 100 long-tail prompts in 10 s.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pdtest.environment.strict import Strict

#: Of the line that each engine logs every VLLM_LOG_STATS_INTERVAL seconds (vLLM 0.32, v1/metrics/loggers.py,
#: LoggingStatLogger.log; the parts in between come and go).
VLLM_STATISTICS: Final = (
    r"Engine (?P<rank>\d+):.* Running: (?P<running>\d+) reqs, Waiting: (?P<waiting>\d+) reqs"
    r".* KV cache usage: (?P<usage>[\d.]+)%"
)


class LongTail(Strict):
    """Lengths of which most are short and a few are very long: log-normal, cut off at both ends. Tokens."""

    median: int | None = Field(
        default=None, gt=0, description="half of the prompts are shorter; default: 1/10 of the longest"
    )
    sigma: float = Field(
        default=1.2,
        ge=0,
        description="how long the tail is; with 1.2, one in 100 is 16 times the median",
    )
    shortest: int = Field(default=8, gt=0)
    longest: int | None = Field(default=None, gt=0, description="default: what leaves room for the answer")


class Spacing(StrEnum):
    """When requests arrive."""

    RANDOM = "random"
    EVEN = "even"


class Load(Strict):
    """Requests that arrive when it is their time, whether or not earlier ones were answered."""

    requests: int = Field(default=100, gt=0)
    over_s: float = Field(default=10.0, gt=0, description="seconds over which they arrive")
    spacing: Annotated[Spacing, Field(strict=False)] = Field(
        default=Spacing.RANDOM, description="random: as of independent users; even: at a steady pace"
    )
    prompt: LongTail = LongTail()
    max_tokens: int = Field(default=64, gt=0, description="length of every answer")
    seed: int = Field(default=1, description="decides lengths and arrivals; the same in every run")


class WatchSource(StrEnum):
    """Where statistics come from."""

    METRICS = "metrics"
    LOG = "log"


def _statistics_pattern(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        reason = {"reason": str(error)}
        raise PydanticCustomError("pattern", "a regular expression ({reason})", reason) from error
    if not {"usage", "tokens"} & groups.keys():
        raise PydanticCustomError("pattern", "a group (?P<usage>..) in percent, or (?P<tokens>..)")
    return pattern


class Watch(Strict):
    """How the KV length of decode's data-parallel ranks is followed."""

    source: Annotated[WatchSource, Field(strict=False)] = Field(
        default=WatchSource.METRICS, description="metrics: asked of /metrics; log: read from a growing file"
    )
    file: str | None = Field(
        default=None,
        description="the log, where source is log; default: the output of the started decode member",
    )
    pattern: Annotated[str, AfterValidator(_statistics_pattern)] = Field(
        default=VLLM_STATISTICS,
        description="finds a line with statistics; groups: rank, usage (percent) or tokens, running, waiting",
    )
    every_s: float = Field(default=0.25, gt=0, description="how often it is looked, seconds")
    after_load_s: float = Field(
        default=30.0,
        ge=0,
        description="watched during the load, and so long after the last request came",
    )


Share = Annotated[float, Field(ge=0, le=1)]


class ClientThresholds(Strict):
    """What must come of a load. The first five are those of mission system 1, client-orchestrated PD."""

    success_rate: Share = Field(default=0.95, description="more than this share of the requests is answered")
    kv_transfer_rate: Share = Field(default=1.0, description="at least this share of the KV due has moved")
    mean_latency_s: float = Field(default=5.0, gt=0, description="the mean over prefill and decode is less")
    requests_per_s: float = Field(default=10.0, gt=0, description="at least so many arrive, on average")
    statistics_age_s: float = Field(default=1.0, gt=0, description="KV statistics are never older")
    kv_preference: float = Field(
        default=1.25,
        gt=0,
        description=(
            "unevenness of KV tokens over the ranks, divided by that of requests, is less: about 1 or below "
            "where requests are spread by KV length, 2 to 5 where they are only counted"
        ),
    )
    kv_imbalance: float = Field(
        default=0.9,
        gt=0,
        description=(
            "the fullest rank's KV above the mean is at most this share of what a round robin by count "
            "makes of the same requests"
        ),
    )
