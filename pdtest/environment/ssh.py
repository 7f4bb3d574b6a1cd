"""How a host is reached, and how members live there."""

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


class Ssh(Strict):
    """A host that members are started on over ssh, as the user's `ssh` would reach it.

    What is not given is as in ~/.ssh/config, else as OpenSSH has it: keys of ~/.ssh and of the agent, host
    keys out of ~/.ssh/known_hosts.
    """

    host: str | None = Field(
        default=None, description="name, IP or alias of ~/.ssh/config to connect to; default: the address"
    )
    port: Port | None = None
    user: str | None = None
    keys: tuple[str, ...] = Field(default=(), strict=False, description="files of private keys, tried alone")
    known_hosts: str | None = Field(default=None, description="file of host keys, used instead of OpenSSH's")
    config: str | None = Field(default=None, description="file used instead of ~/.ssh/config")
    jump: str | None = Field(default=None, description="host to go through: [user@]host[:port]")
    python: str = Field(
        default="python3",
        description=(
            "Python 3.10 or later on the host: runs the supervisor, and members whose options name no python"
        ),
    )
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
    connect_timeout_s: float = Field(default=15.0, gt=0, description="seconds until it must have let us in")
    silence_s: float = Field(
        default=10.0,
        ge=1,
        description="without a sign of the other side for this long the run takes the host, and the host the "
        "run, for gone: members there end",
    )
    free_mib: int = Field(default=100, ge=0, description="MiB that must be free under workdir")
