"""Members that somebody else runs: nothing is started, watched or stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pdtest.launch.vitals import Vitals
from pdtest.services.service import Command


class AttachedProcess:
    """A member without a process of ours."""

    pid = None
    returncode = None

    async def wait(self) -> NoReturn:
        """Never returns: whether the member ends is not ours to see."""
        while True:
            await asyncio.Event().wait()

    async def stop(self, grace_s: float) -> None:
        """Leave it running."""

    async def look(self) -> list[Vitals]:
        """None of its processes is ours."""
        return []

    async def look_at(self, those: Sequence[Vitals]) -> list[Vitals]:
        """There were none."""
        return list(those)

    async def signal(self, those: Sequence[Vitals], number: int) -> list[bool]:  # noqa: ARG002
        """Nobody is signalled."""
        return [False] * len(those)


class AttachLauncher:
    """Uses a member that answers at the URL its environment file gives."""

    name = "attach"
    starts = False

    async def launch(self, command: Command, directory: Path, *, log: Path) -> AttachedProcess:  # noqa: ARG002
        """Start nothing. The log is created empty, so that readers need not know about attaching."""
        _touch(log)
        return AttachedProcess()


def _touch(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
