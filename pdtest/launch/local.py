"""Members as processes of this machine, each in a session of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pdtest.launch.kept import keep
from pdtest.launch.kin import MEMBER_VARIABLE, OWNER_VARIABLE
from pdtest.launch.launcher import no_program, refused, still_alive
from pdtest.launch.session import NoProgram, Outlived, Session, check_program, environment
from pdtest.launch.vitals import Vitals, look_at, look_at_all, send
from pdtest.services.service import Command


class LocalLauncher:
    """Starts a member as a subprocess that writes straight to its log file."""

    name = "local"
    starts = True

    async def launch(self, command: Command, directory: Path, *, log: Path) -> LocalProcess:
        """Write the member's files and command.sh, then start it. Raises LaunchError."""
        tags = _tags(command, directory)
        variables = environment(os.environ, command.env, tags)
        script = keep(command, directory)
        try:
            check_program(command.argv, directory, variables)
            session = await Session.start(command.argv, directory, variables=variables, tags=tags, log=log)
        except NoProgram as error:
            raise no_program(error, script) from None
        except OSError as error:
            raise refused(command.argv[0], error, script) from error
        return LocalProcess(session)


class LocalProcess:
    """A running member and everything it started."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def pid(self) -> int:
        """The process that leads the member's session."""
        return self._session.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._session.returncode

    async def wait(self) -> int:
        """Return code, once it has ended."""
        return await self._session.wait()

    async def stop(self, grace_s: float) -> None:
        """End the member and all its kin, wherever they went. Raises StillAlive."""
        try:
            await self._session.stop(grace_s)
        except Outlived as error:
            raise still_alive(error.pids) from None

    async def look(self) -> list[Vitals]:
        """All that the member started and that lives, the first first."""
        return look_at_all(self._session.scan())

    async def look_at(self, those: Sequence[Vitals]) -> list[Vitals]:
        """How each of ``those`` is now, ended or not."""
        return [look_at(one.pid, one.started) for one in those]

    async def signal(self, those: Sequence[Vitals], number: int) -> list[bool]:
        """Send it to each of ``those`` that has not ended; whether the kernel took it for them."""
        return [send(one.pid, one.started, number) for one in those]


def _tags(command: Command, directory: Path) -> dict[str, str]:
    owner = command.env.get(OWNER_VARIABLE)
    return {MEMBER_VARIABLE: str(directory.resolve())} | ({OWNER_VARIABLE: owner} if owner else {})
