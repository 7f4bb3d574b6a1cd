"""Members on hosts that are reached over ssh, as the user's own `ssh` would reach them.

Needs the extra ``ssh`` (asyncssh): keys, agents, ~/.ssh/config and known_hosts work as with OpenSSH. On the
host nothing is installed: a supervisor travels there over the connection (`agents/supervisor.py`).
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pdtest.environment.schema import Host
from pdtest.environment.ssh import Ssh
from pdtest.errors import MissingExtra
from pdtest.launch.far import Call, FarHost, orders_for
from pdtest.launch.greeting import greeting
from pdtest.launch.launcher import LaunchError
from pdtest.launch.outpost import NOTHING
from pdtest.launch.shipment import packed, start_command
from pdtest.services.service import Command

if TYPE_CHECKING:
    import asyncssh

_HANG_UP_S: Final = 2.0
#: A supervisor that replaces one whose connection broke waits until that one has ended everything.
_REPLACING_S: Final = 60.0


class SshLauncher:
    """Reaches hosts. Their members are then launched by what `reach` returns."""

    name = "ssh"
    starts = True
    #: A host is one place for all its members.
    places_members = False

    async def reach(
        self, name: str, host: Host, *, owner: str, resources: Mapping[str, float] = NOTHING
    ) -> FarHost:
        """Connect, and start a supervisor there. Raises HostError, MissingExtra."""
        del resources  # whoever gets in has all of it
        settings = host.ssh or Ssh()
        target = settings.host or host.address
        orders = orders_for(settings, f"{owner}-{name}")
        far = FarHost(
            settings,
            lambda: _dial(name, target, settings, orders),
            launcher=self.name,
            address=host.address,
        )
        await far.reach()
        return far

    async def launch(self, command: Command, directory: Path, *, log: Path) -> Any:
        """Never: a host is reached first, and launches itself."""
        del command, log
        raise LaunchError(
            f"member '{directory.name}' is to be started over ssh, and its host was not reached",
            next_step="use the launcher through a cluster",
        )


async def _dial(name: str, target: str, settings: Ssh, orders: Mapping[str, Any]) -> Call:
    try:
        from pdtest.launch.ssh_client import connected
    except ImportError as error:
        raise MissingExtra("asyncssh", "ssh", "starting members on other hosts") from error
    connection = await connected(name, target, settings)
    try:
        async with asyncio.timeout(settings.connect_timeout_s + _REPLACING_S):
            return await _start(name, target, settings, orders, connection)
    except BaseException:
        await _close(connection)
        raise


async def _start(
    name: str,
    target: str,
    settings: Ssh,
    orders: Mapping[str, Any],
    connection: asyncssh.SSHClientConnection,
) -> Call:
    process = await connection.create_process(start_command(settings.python), encoding=None)
    with suppress(OSError):  # the shell found no Python and is gone; what it says comes below
        process.stdin.write(packed(dict(orders)))

    async def errors() -> str:
        said: bytes = await process.stderr.read()
        return said.decode(errors="replace").strip()

    key = f"hosts.{name}.ssh"
    return Call(
        host=name,
        way=_by_hand(target, settings),
        reader=process.stdout,
        writer=process.stdin,
        greeting=await greeting(process.stdout, errors, host=name, python=settings.python, key=key),
        hang_up=lambda: _close(connection),
    )


async def _close(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_HANG_UP_S):
            await connection.wait_closed()
            return
    connection.abort()


def _by_hand(target: str, settings: Ssh) -> str:
    """The command line of OpenSSH that goes the same way."""
    options = [
        *(("-F", settings.config) if settings.config else ()),
        *(("-p", str(settings.port)) if settings.port else ()),
        *(("-J", settings.jump) if settings.jump else ()),
        *(word for key in settings.keys for word in ("-i", key)),
        *(("-o", f"UserKnownHostsFile={settings.known_hosts}") if settings.known_hosts else ()),
    ]
    who = f"{settings.user}@{target}" if settings.user else target
    return shlex.join(["ssh", *options, who])
