"""How members get a place on a Ray cluster."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pdtest.environment.site import Site

#: Amounts by name, as Ray counts them: CPU, GPU, NPU, memory in bytes, and what nodes were started with.
Resources = dict[str, Annotated[float, Field(gt=0)]]


class Ray(Site):
    """Nodes of a Ray cluster that runs already. Each member gets what it asks for on one of them."""

    address: str = Field(
        default="auto",
        description="HOST:PORT of its head; ray://HOST:PORT from a machine that is no node of it; auto: the "
        "cluster that this machine is a node of",
    )
    node: str | None = Field(
        default=None, description="IP of the node, as `ray status` has it; default: whichever has room"
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="only nodes that were started with these: ray start --labels"
    )
    python: str | None = Field(
        default=None,
        description=(
            "interpreter on the nodes: runs the supervisor, and members whose options name no python; "
            "default: that of Ray's workers"
        ),
    )
    connect_timeout_s: float = Field(default=60.0, gt=0, description="seconds until the cluster must answer")
    place_timeout_s: float = Field(
        default=60.0, gt=0, description="seconds to wait for resources that others have at the moment"
    )
