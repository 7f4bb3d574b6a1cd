"""How members live on a host that is not this machine, however it is reached."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pdtest.environment.strict import Strict

Port = Annotated[int, Field(ge=1, le=65535)]
Value = str | int | float | bool | None


class Ports(Strict):
    """A range of ports that a firewall lets through."""

    first: Port
    last: Port

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last < self.first:
            raise PydanticCustomError("ports", "first comes before last")
        return self


class Site(Strict):
    """What is asked of every such host."""

    workdir: str = Field(
        default="~/.cache/pdtest", description="directory on the host for what runs and members write"
    )
    model: str | None = Field(
        default=None,
        description="where the model is on the host; default: model.path, or uploaded where pdtest made it",
    )
    env: dict[str, Value] = Field(
        default_factory=dict, description="variables beneath those of every member there"
    )
    ports: Ports | None = Field(default=None, description="choose ports from these; default: 10000 and up")
    silence_s: float = Field(
        default=10.0,
        ge=1,
        description="without a sign of the other side for this long the run takes the host, and the host the "
        "run, for gone: members there end",
    )
    free_mib: int = Field(default=100, ge=0, description="MiB that must be free under workdir")
