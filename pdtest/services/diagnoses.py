"""Known failures that any program can have.

Each pattern is a line some real program printed; the tests hold every entry against the line it was
made for. Order matters only where two patterns fit one line: the first wins.
"""

from __future__ import annotations

import re

from pdtest.services.service import Diagnosis


def diagnosis(name: str, pattern: str, meaning: str, remedy: str) -> Diagnosis:
    """A `Diagnosis` from its pattern's text."""
    return Diagnosis(name=name, pattern=re.compile(pattern), meaning=meaning, remedy=remedy)


COMMON: tuple[Diagnosis, ...] = (
    diagnosis(
        "port in use",
        r"(?i)address already in use|EADDRINUSE",
        "another process listens on a port this member was given",
        "set the port to 'auto' in the environment file, or end the other process (ss -ltnp shows it)",
    ),
    diagnosis(
        "out of memory",
        r"\bMemoryError|Cannot allocate memory|std::bad_alloc",
        "the machine had no memory left for this member",
        "stop other programs, or use a smaller model or KV cache",
    ),
    diagnosis(
        "disk full",
        r"No space left on device",
        "a file system this member writes to is full",
        "make room (df -h shows which one), /dev/shm included",
    ),
    diagnosis(
        "too many open files",
        r"^(?!.*WARNING).*Too many open files",
        "the limit on open files is too low for this member",
        "raise it before starting pytest: ulimit -n 65536",
    ),
    diagnosis(
        "package missing",
        r"ModuleNotFoundError: No module named '[\w.]+'",
        "the member's interpreter lacks a Python package",
        "install it into the interpreter named in command.sh, or point options.python at another one",
    ),
)
