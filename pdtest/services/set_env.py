"""Vendor scripts, `set_env.sh`, that a member's shell sources before the program takes its place."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

#: Option `set_env` of members that need some.
SetEnv = Annotated[
    tuple[str, ...],
    Field(
        description="scripts sourced first, in this order, e.g. /usr/local/Ascend/ascend-toolkit/set_env.sh"
    ),
]


def sourced(scripts: Sequence[str], argv: tuple[str, ...]) -> tuple[str, ...]:
    """``argv`` in a shell that has sourced ``scripts``.

    The program replaces the shell (exec), so that signals reach it. The scripts run in a function without
    arguments, because some read `$@` (nnal/atb/set_env.sh does), which is the program's command line here.
    Their status says nothing, as where one sources them by hand: what was not set, the program misses.
    """
    if not scripts:
        return argv
    lines = "; ".join(f"source {shlex.quote(script)}" for script in scripts)
    return ("bash", "-c", f'set_env() {{ {lines}; }}; set_env; exec "$@"', "bash", *argv)
