"""Programs that go beside a member and run the user's script with what it lacks.

Each is standard library only and is written into the member's directory: the interpreter that runs it has
the script's packages, and need not have pdtest.
"""

from __future__ import annotations

from importlib.resources import files


def serving(name: str) -> str:
    """The text of a program of this package."""
    return (files(__package__) / f"{name}.py").read_text(encoding="utf-8")
