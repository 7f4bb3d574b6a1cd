"""What is to be looked at while a load runs, as it is told to the process that looks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pdtest.results.frozen import Frozen

Kind = Literal["nvidia", "ascend"]


class Chip(Frozen):
    """A chip of this machine, by the driver's number, and the members that run on it."""

    kind: Kind
    number: int
    members: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``nvidia0``."""
        return f"{self.kind}{self.number}"


class Blind(Frozen):
    """What members run on and cannot be looked at from here, under a name, and why."""

    kind: Kind | Literal["cpu"]
    name: str
    members: tuple[str, ...]
    reason: str


class Engine(Frozen):
    """A member whose /metrics are read. ``url``: what it is below."""

    member: str
    url: str
    api_key: str | None = Field(default=None, repr=False)


class Settings(Frozen):
    """``every_s`` is for what is cheap to ask: chips through their driver, this machine.

    Engines have ``engines_every_s``, because answering /metrics costs the engine that is being measured
    (vLLM 0.32 writes 60 KB, some 10 ms in the process that also serves requests), and ``npu-smi`` has
    ``npu_smi_every_s``, because it is a program that takes most of a second. ``on_cpu``: members that
    compute on this machine's processors; these are looked at in any case.
    """

    every_s: float = Field(default=0.1, gt=0)
    engines_every_s: float = Field(default=1.0, gt=0)
    npu_smi_every_s: float = Field(default=1.0, gt=0)
    chips: tuple[Chip, ...] = ()
    engines: tuple[Engine, ...] = ()
    on_cpu: tuple[str, ...] = ()
    blind: tuple[Blind, ...] = ()
