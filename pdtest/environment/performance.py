"""What suites/performance does on an environment, and what must come of it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pdtest.environment.ray import Resources
from pdtest.environment.strict import Strict


class Limit(Strict):
    """What a measure may be. Both ends may be given."""

    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.at_most is None and self.at_least is None:
            raise PydanticCustomError("limit", "at_most, at_least or both")
        return self

    def allows(self, value: float) -> bool:
        """Whether ``value`` is within, ends included."""
        low = self.at_least is None or value >= self.at_least
        return low and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        ends = ((">=", self.at_least), ("<=", self.at_most))
        return " and ".join(f"{sign} {end:g}" for sign, end in ends if end is not None)


#: Limits by measure name; docs/metrics.md has the names.
Limits = dict[str, Limit]


class Slo(Strict):
    """What one request must keep to be good: all that are given. Seconds, from when it was due."""

    ttft_s: float | None = Field(default=None, gt=0, description="to the first token")
    tpot_s: float | None = Field(default=None, gt=0, description="per token after the first")
    e2e_s: float | None = Field(default=None, gt=0, description="to the last token")

    @property
    def given(self) -> bool:
        """Whether it asks for anything."""
        return any(limit is not None for limit in (self.ttft_s, self.tpot_s, self.e2e_s))


class Rates(Strict):
    """A sweep of request rates: up from the lowest until the service does not hold, then in between."""

    lowest: float = Field(default=2.0, gt=0, description="requests per second of the first step")
    highest: float = Field(default=64.0, gt=0, description="no step goes beyond")
    factor: float = Field(default=2.0, gt=1, description="from step to step")
    refine: int = Field(default=2, ge=0, description="steps between the last that held and the first not")
    step_s: float = Field(default=5.0, gt=0, description="seconds over which a step's requests come")
    holds: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="share of a step's requests that must be good (slo) for it to hold",
    )
    slack: float = Field(
        default=4.0,
        gt=1,
        description="without an slo: times the first step's median TTFT and TPOT that a request may take",
    )


class Senders(Strict):
    """Where the processes of a load's client are, when one machine cannot send it."""

    host: str = Field(description="a name under hosts, with ray:")
    resources: Resources = Field(
        default_factory=lambda: {"CPU": 1.0}, description="what Ray gives each process"
    )


class Topology(Strict):
    """Members that serve together: one of several ways to use the same hardware."""

    members: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = Field(
        description="engines, and the proxy before them; without one the client goes to them itself"
    )
    claims: Limits = Field(
        default_factory=dict,
        description="what it must reach against the first topology: its measure over that one's, by name",
    )


class Performance(Strict):
    """Settings of suites/performance."""

    workload: str = Field(default="default", description="which of `workloads` is put on")
    runs: int = Field(default=5, gt=0, description="of each side of a comparison: the run is the unit")
    again: int = Field(
        default=2, ge=0, description="how often a run is measured again that was bound by its client"
    )
    processes: int = Field(default=1, gt=0, description="of the load's client, where one core is not enough")
    senders: Senders | None = Field(
        default=None, description="where those processes are; default: this machine"
    )
    take_turns: bool = Field(
        default=False,
        description="the sides share devices: to measure one the other is stopped; it ends with PD",
    )
    every_s: float = Field(default=0.1, gt=0, description="seconds between readings of the monitors")
    slo: Slo = Slo()
    claims: Limits = Field(
        default_factory=dict,
        description="what the pair must reach against the single instance: its measure over theirs, by name",
    )
    batches: Annotated[tuple[int, ...], Field(strict=False)] = Field(
        default=(1, 2, 4, 8), description="sizes of bursts that are sent at once"
    )
    batch_rounds: int = Field(default=3, gt=0, description="how often each batch is sent")
    concurrency: Annotated[tuple[int, ...], Field(strict=False)] = Field(
        default=(1, 2, 4, 8), description="of a closed loop"
    )
    per_user: int = Field(default=4, gt=0, description="requests of each user of a closed loop")
    users_per_engine: int = Field(default=4, gt=0, description="of a closed loop, where engines are counted")
    collapse: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="with more at once, throughput is never below this share of the best with fewer",
    )
    rates: Rates = Rates()
    cross_check: float = Field(
        default=0.3, gt=0, description="share by which vllm bench serve may see another throughput than we do"
    )
    bench_python: str | None = Field(
        default=None,
        description="interpreter with vLLM, for vllm bench serve; default: requires.python, else pytest's",
    )
    tokenizer: str | None = Field(
        default=None, description="directory, for vllm bench serve; default: model.path"
    )
    device_hour_cost: float | None = Field(
        default=None, gt=0, description="price of a device for an hour, for cost_per_million_tokens"
    )
    engine_devices: int | None = Field(
        default=None, gt=0, description="devices of each engine whose member names none; default: not known"
    )
    topologies: dict[str, Topology] = Field(
        default_factory=dict,
        description="deployments of the same hardware, by name; in turn, each against the first",
    )
    topologies_workload: str | None = Field(
        default=None,
        description="which of `workloads` is put on them; default: users_per_engine for each, 200 tokens in "
        "and 500 out, less where max_model_len is",
    )
