"""Members on hosts that are reached over ssh, as the user's own `ssh` would reach them.

Needs the extra ``ssh`` (asyncssh): keys, agents, ~/.ssh/config and known_hosts work as with OpenSSH. On the
host nothing is installed: a supervisor travels there over the connection (`agents/supervisor.py`).
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pdtest.environment.schema import Host
from pdtest.environment.ssh import Ssh
from pdtest.errors import MissingExtra
from pdtest.launch.agents.wire import GREETING
from pdtest.launch.far import Call, FarHost
from pdtest.launch.host_errors import HostError, no_python, workdir_unusable
from pdtest.launch.launcher import LaunchError
from pdtest.launch.shipment import TOO_OLD, packed, start_command
from pdtest.services.service import Command

if TYPE_CHECKING:
    import asyncssh

#: Beyond this many lines before the greeting nobody greets.
_PREAMBLE: Final = 1000
_HANG_UP_S: Final = 2.0
#: A supervisor that replaces one whose connection broke waits until that one has ended everything.
_REPLACING_S: Final = 60.0


class SshLauncher:
    """Reaches hosts. Their members are then launched by what `reach` returns."""

    name = "ssh"
    starts = True

    async def reach(self, name: str, host: Host, *, owner: str) -> FarHost:
        """Connect, and start a supervisor there. Raises HostError, MissingExtra."""
        settings = host.ssh or Ssh()
        target = settings.host or host.address
        tag = f"{owner}-{name}"
        orders = {
            "owner": tag,
            "run": tag,
            "workdir": settings.workdir,
            "silence_s": settings.silence_s,
            "free_mib": settings.free_mib,
            "ports": [settings.ports.first, settings.ports.last] if settings.ports else None,
        }
        far = FarHost(
            name,
            settings,
            lambda: _dial(name, target, settings, orders),
            launcher=self.name,
            way=_by_hand(target, settings),
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
            return await _start(name, settings, orders, connection)
    except BaseException:
        await _close(connection)
        raise


async def _start(
    name: str, settings: Ssh, orders: Mapping[str, Any], connection: asyncssh.SSHClientConnection
) -> Call:
    process = await connection.create_process(start_command(settings.python), encoding=None)
    with suppress(OSError):  # the shell found no Python and is gone; what it says comes below
        process.stdin.write(packed(dict(orders)))
    preamble: list[str] = []
    while (line := await process.stdout.readline()) and len(preamble) < _PREAMBLE:
        text = line.decode(errors="replace").rstrip()
        if text.startswith(GREETING):
            greeting = json.loads(text.removeprefix(GREETING))
            if "error" in greeting:
                raise workdir_unusable(name, greeting["error"])
            return Call(
                reader=process.stdout,
                writer=process.stdin,
                greeting=greeting["ok"],
                hang_up=lambda: _close(connection),
            )
        preamble.append(text)
    said = (await process.stderr.read()).decode(errors="replace").strip()
    raise _nobody_greets(name, settings.python, "\n".join([*preamble[-5:], said]).strip())


def _nobody_greets(name: str, python: str, said: str) -> HostError:
    _, too_old, version = said.rpartition(TOO_OLD)
    if "Traceback" in said:
        return HostError(
            f"the supervisor did not start on host '{name}'",
            seen=said,
            next_step="report this with the version of Python there",
        )
    return no_python(name, python, "" if too_old else said, version.split()[0] if too_old else None)


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
