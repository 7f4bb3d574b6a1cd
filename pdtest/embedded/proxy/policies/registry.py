"""Which policies there are, by the names that ``--policy`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pdtest.embedded.proxy.policies.cache_aware import CacheAware
from pdtest.embedded.proxy.policies.consistent_hash import ConsistentHash
from pdtest.embedded.proxy.policies.kv_length import KVLength
from pdtest.embedded.proxy.policies.least_loaded import LeastLoaded
from pdtest.embedded.proxy.policies.policy import Policy
from pdtest.embedded.proxy.policies.power_of_two import PowerOfTwo
from pdtest.embedded.proxy.policies.random_choice import RandomChoice
from pdtest.embedded.proxy.policies.round_robin import RoundRobin

POLICIES: Mapping[str, Callable[[], Policy]] = MappingProxyType(
    {
        "round_robin": RoundRobin,
        "random": RandomChoice,
        "least_loaded": LeastLoaded,
        "power_of_two": PowerOfTwo,
        "kv_length": KVLength,
        "cache_aware": CacheAware,
        "consistent_hash": ConsistentHash,
    }
)
