"""The first words of a supervisor that was just started on a host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

from pdtest.launch.agents.wire import GREETING
from pdtest.launch.conversation import Reader
from pdtest.launch.host_errors import HostError, no_python, workdir_unusable
from pdtest.launch.shipment import TOO_OLD

#: Beyond this many lines before the greeting nobody greets.
_PREAMBLE: Final = 1000
_TOLD: Final = 5


class Errors(Protocol):
    """What a process that does not greet said on stderr, once it has ended."""

    async def __call__(self) -> str:
        """All of it."""
        ...


async def greeting(reader: Reader, errors: Errors, *, host: str, python: str, key: str) -> Mapping[str, Any]:
    """What the host is and has. ``key``: where the environment says how to get there.

    What start-up files print before is passed over. Raises HostError.
    """
    preamble: list[str] = []
    while (line := await reader.readline()) and len(preamble) < _PREAMBLE:
        text = line.decode(errors="replace").rstrip()
        if text.startswith(GREETING):
            told = json.loads(text.removeprefix(GREETING))
            if "error" in told:
                raise workdir_unusable(host, told["error"], key)
            found: Mapping[str, Any] = told["ok"]
            return found
        preamble.append(text)
    raise _nobody_greets(host, python, "\n".join([*preamble[-_TOLD:], await errors()]).strip(), key)


def _nobody_greets(host: str, python: str, said: str, key: str) -> HostError:
    _, too_old, version = said.rpartition(TOO_OLD)
    if "Traceback" in said:
        return HostError(
            f"the supervisor did not start on host '{host}'",
            seen=said,
            next_step="report this with the version of Python there",
        )
    return no_python(host, python, "" if too_old else said, version.split()[0] if too_old else None, key)
