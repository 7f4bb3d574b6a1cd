"""How a host is reached over ssh."""

from __future__ import annotations

from pydantic import Field

from pdtest.environment.site import Port, Site


class Ssh(Site):
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
    connect_timeout_s: float = Field(default=15.0, gt=0, description="seconds until it must have let us in")
