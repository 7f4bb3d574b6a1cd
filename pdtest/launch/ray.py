"""Members on nodes of a Ray cluster that runs already, placed by the resources that they ask for.

Needs the extra ``ray``, in the version of the cluster, and a cluster that this machine is a node of (or
``ray://``). For each member an actor holds its resources, and beneath it runs the supervisor that also
travels over ssh (`agents/supervisor.py`): nothing of pdtest is installed on the nodes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from pdtest.environment.ray import Ray
from pdtest.environment.schema import Host
from pdtest.errors import PdtestError
from pdtest.launch.bridge import Bridge, wish
from pdtest.launch.far import Call, FarHost, orders_for
from pdtest.launch.greeting import greeting
from pdtest.launch.launcher import LaunchError
from pdtest.launch.outpost import NOTHING
from pdtest.launch.ray_line import Line
from pdtest.launch.shipment import packed, start_command
from pdtest.services.service import Command

#: Until the supervisor has greeted, which may wait for one that it replaces.
_GREETING_S: Final = 75.0
#: Our names of what Ray counts.
_KINDS: Final = {"GPU": "cuda", "NPU": "ascend"}


class RayLauncher:
    """Gets places for members. They are then launched by what `reach` returns."""

    name = "ray"
    starts = True
    #: A cluster is many nodes: each member is placed by itself.
    places_members = True

    def __init__(self) -> None:
        self._bridges: dict[tuple[asyncio.AbstractEventLoop, str], _Shared] = {}

    async def reach(
        self, name: str, host: Host, *, owner: str, resources: Mapping[str, float] = NOTHING
    ) -> FarHost:
        """Wait for a place, and start a supervisor there. Raises HostError, MissingExtra."""
        settings = host.ray or Ray()
        orders = orders_for(settings, f"{owner}-ray-{name}")
        bridges = self._bridges.setdefault((asyncio.get_running_loop(), settings.address), _Shared())
        node = settings.node

        async def dial() -> Call:
            nonlocal node
            wanted = wish(orders["owner"], settings.model_copy(update={"node": node}), resources)
            call = await _dial(name, bridges, settings, wanted, orders)
            node = call.address  # the others were told that it is there
            return call

        far = FarHost(settings, dial, launcher=self.name, address=host.address)
        await far.reach()
        return far

    async def launch(self, command: Command, directory: Path, *, log: Path) -> Any:
        """Never: a place is reached first, and launches itself."""
        del command, log
        raise LaunchError(
            f"member '{directory.name}' is to be started by Ray, and was given no place",
            next_step="use the launcher through a cluster",
        )


class _Shared:
    """One bridge for all members that are on one cluster, from the first to the last."""

    def __init__(self) -> None:
        self._users = 0
        self._bridge: Bridge | None = None
        self._changing = asyncio.Lock()
        self._failure: PdtestError | None = None
        self._failed_at = 0.0

    async def enter(self, settings: Ray) -> Bridge:
        """Raises HostError, MissingExtra; one failure is that of all who waited for it."""
        came_at = time.monotonic()
        async with self._changing:
            if self._failure is not None and self._failed_at > came_at:
                raise self._failure
            if self._bridge is not None and not self._bridge.alive:
                await self._stop()
            if self._bridge is None:
                self._bridge = await self._start(settings)
            self._users += 1
            return self._bridge

    async def leave(self) -> None:
        async with self._changing:
            self._users -= 1
            if not self._users:
                await self._stop()

    async def _start(self, settings: Ray) -> Bridge:
        try:
            return await asyncio.to_thread(Bridge.start, settings)
        except PdtestError as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise

    async def _stop(self) -> None:
        bridge, self._bridge = self._bridge, None
        if bridge is not None:
            await asyncio.to_thread(bridge.stop)


async def _dial(
    member: str, bridges: _Shared, settings: Ray, wanted: Mapping[str, Any], orders: Mapping[str, Any]
) -> Call:
    who = f"member '{member}'"
    async with AsyncExitStack() as stack:
        bridge = await bridges.enter(settings)
        stack.push_async_callback(bridges.leave)
        line = await Line.open(bridge, wanted, who)
        stack.push_async_callback(line.hang_up)
        place = line.place
        python = settings.python or place.python
        line.run(["sh", "-c", start_command(python)])
        line.writer.write(packed(dict(orders)))
        async with asyncio.timeout(_GREETING_S):
            greeted = await greeting(
                line.reader, line.said, host=place.node, python=python, key=f"ray of the host of {who}"
            )
        hang_up = stack.pop_all().aclose
        return Call(
            host=place.node,
            way=f"ssh {place.node}",
            address=place.node,
            devices=_devices(place.devices, wanted["resources"], who),
            reader=line.reader,
            writer=line.writer,
            greeting=greeted,
            hang_up=hang_up,
        )


def _devices(
    given: Mapping[str, Sequence[str]], asked: Mapping[str, float], who: str
) -> dict[str, dict[int, str]]:
    """Chips that are the member's alone, to be leased as everybody's are. Part of one is shared."""
    return {
        _KINDS[kind]: {int(number): who for number in numbers if number.isdigit()}
        for kind, numbers in given.items()
        if kind in _KINDS and asked.get(kind, 0) >= 1
    }
