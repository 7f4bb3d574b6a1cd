"""Finding the programs that members run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def find_program(name: str) -> str | None:
    """Absolute path of a program, or None.

    The directory of this interpreter comes first: with `venv/bin/pytest` started by its path, the
    environment's other programs are not on PATH, yet they are the ones that were meant.
    """
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
