"""Which observer an environment's router gets."""

from __future__ import annotations

from collections.abc import Mapping

from pdtest.client.endpoint import Endpoint
from pdtest.environment.schema import Environment, Role
from pdtest.routing.counted import MetricsObserver
from pdtest.routing.observer import Observer
from pdtest.routing.told import HeaderObserver, RequestIdObserver, Told

#: What each program tells of itself; of all others engines' counters tell.
_BY_SERVICE: Mapping[str, type[Told]] = {
    "embedded-proxy": HeaderObserver,
    "vllm-router": RequestIdObserver,
    "p2p-nccl-proxy": RequestIdObserver,
}
_BY_NAME: Mapping[str, type[Told]] = {kind.name: kind for kind in _BY_SERVICE.values()}


def observer_for(environment: Environment, engines: Mapping[str, Endpoint]) -> Observer:
    """The observer that ``routing.observe`` names, over clients of all prefill, decode and hybrid members.

    With ``auto`` the one that the proxy's service knows.
    """
    kind = _kind(environment)
    if kind is not None:
        return kind(engines)
    roles = {name: environment.members[name].role for name in engines}
    return MetricsObserver(engines, roles, within_s=environment.thresholds.settle_s)


def _kind(environment: Environment) -> type[Told] | None:
    chosen = environment.routing.observe
    if chosen != "auto":
        return _BY_NAME.get(chosen)
    proxies = environment.members_with(Role.PROXY).values()
    return next((_BY_SERVICE[one.service] for one in proxies if one.service in _BY_SERVICE), None)
