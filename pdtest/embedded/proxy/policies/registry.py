"""Which policies there are, by the names that ``--policy`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pdtest.embedded.proxy.policies.kv_length import KVLength
from pdtest.embedded.proxy.policies.least_loaded import LeastLoaded
from pdtest.embedded.proxy.policies.policy import Policy
from pdtest.embedded.proxy.policies.round_robin import RoundRobin

POLICIES: Mapping[str, Callable[[], Policy]] = MappingProxyType(
    {
        "round_robin": RoundRobin,
        "least_loaded": LeastLoaded,
        "kv_length": KVLength,
    }
)
