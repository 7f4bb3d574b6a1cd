"""What a run keeps of a member: its config files, and the script that starts it by hand."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from pdtest.launch.kin import MEMBER_VARIABLE, OWNER_VARIABLE
from pdtest.launch.launcher import LaunchError
from pdtest.launch.script import AS_A_RUN_DID, render_script
from pdtest.services.service import Command
from pdtest.whole import write_whole

SCRIPT = "command.sh"
_NOT_FOR_HAND = frozenset({OWNER_VARIABLE, MEMBER_VARIABLE})


def keep(
    command: Command, directory: Path, *, runs_in: Path | None = None, heading: Sequence[str] | None = None
) -> Path:
    """Write the files of ``command`` and its script to ``directory``; the script's path.

    ``runs_in`` is where it runs, if that is elsewhere; ``heading`` then says where. Raises LaunchError.
    """
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in command.files.items():
        path = (directory / name).resolve()
        if not path.is_relative_to(directory):
            raise LaunchError(
                f"the config file '{name}' would lie outside the member's directory",
                expected=f"a path below {directory}",
                next_step="give it a plain file name",
            )
        write_whole(path, text, mode=file_mode(command, text))
    by_hand = {name: value for name, value in command.env.items() if name not in _NOT_FOR_HAND}
    shown = Command(argv=command.argv, env=by_hand, secrets=command.secrets)
    script = render_script(
        shown,
        runs_in or directory,
        variables=os.environ,
        heading=heading or AS_A_RUN_DID,
        checks=(f"mkdir -p {shlex.quote(str(runs_in))}",) if runs_in else (),
    )
    write_whole(directory / SCRIPT, script, mode=0o755)
    return directory / SCRIPT


def file_mode(command: Command, text: str) -> int:
    """A file that holds a secret is for its owner alone."""
    return 0o600 if any(secret in text for secret in command.secrets) else 0o644
