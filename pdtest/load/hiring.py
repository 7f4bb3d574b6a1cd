"""Where the processes of a load's client come from, as an environment has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pdtest.environment.ray import Ray
from pdtest.environment.schema import Environment
from pdtest.launch.bridge import Bridge, wish
from pdtest.load.hand import Hire
from pdtest.load.ray_hand import HandOnRay


@contextmanager
def hiring(environment: Environment) -> Iterator[Hire | None]:
    """Starts them on nodes of a Ray cluster; None: on this machine. Raises HostError, MissingExtra."""
    senders = environment.performance.senders
    if senders is None:
        yield None
        return
    settings = environment.hosts[senders.host].ray or Ray()
    bridge = Bridge.start(settings)
    try:
        wanted = wish(None, settings, senders.resources, spread=True)
        yield lambda: HandOnRay(bridge, wanted, settings.python)
    finally:
        bridge.stop()
