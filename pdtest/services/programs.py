"""Finding the programs that members run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from pdtest.services.service import Placement


def program_of(placement: Placement, name: str) -> str:
    """What to start for ``name``: where it is, if that can be seen from here."""
    return (None if placement.abroad else find_program(name)) or name


def find_program(name: str) -> str | None:
    """Absolute path of a program, or None.

    The directory of this interpreter comes first: with `venv/bin/pytest` started by its path, the
    environment's other programs are not on PATH, yet they are the ones that were meant.
    """
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
