"""A planted bug, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Place(StrEnum):
    """Where a bug is planted, and by what it is switched on."""

    #: In the KV that decode receives: the embedded engine's ``--fault-transfer @FILE``, and the same words
    #: for a connector around any of vLLM's (pdtest/mutants/connector.py).
    KV = "kv"
    #: In how long an engine keeps KV: the embedded engine's ``--fault-lifetime @FILE``.
    LIFE = "life"
    #: In the parameters that a client carries from prefill to decode: its contract.
    PARAMS = "params"
    #: In a proxy: the gateway around it (pdtest/mutants/gateway).
    PROXY = "proxy"
    #: In how a router decides: the embedded proxy's ``--fault-routing @FILE``.
    ROUTING = "routing"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One planted bug.

    ``bugs`` are the classes of bugs in the field that it stands for, F1 to F12 of docs/mutants.md.
    ``switch`` is what is written to its place's switch. ``role`` is that of the member which has it, where
    its place alone does not say. ``first`` is part of the names of tests that are tried first.
    ``unseen`` says of suites that cannot notice it why they cannot: they are not run on it.
    """

    name: str
    place: Place
    bugs: tuple[str, ...]
    does: str
    switch: str
    role: str = ""
    first: str = ""
    unseen: Mapping[str, str] = field(default_factory=dict, compare=False)
