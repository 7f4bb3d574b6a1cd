"""The socket of a keeper, in its cluster's directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Final, Self

_NAME: Final = "keeper.sock"
#: Nobody else may connect: what comes over it is believed.
_MINE: Final = 0o177


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    """A name of the socket that fits into the 107 bytes that Linux has for one, however deep it lies."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{_NAME}"
    finally:
        os.close(folder)


class Door:
    """Where clients come in."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    @classmethod
    @contextmanager
    def open(cls, directory: Path) -> Iterator[Self]:
        """Listen. What an earlier keeper left behind is replaced."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / _NAME).unlink(missing_ok=True)
        before = os.umask(_MINE)
        try:
            with _short(directory) as address:
                listener = Listener(address, family="AF_UNIX", backlog=16)
                os.umask(before)
                try:
                    yield cls(listener)
                finally:
                    with suppress(OSError):
                        listener.close()
        finally:
            os.umask(before)

    def visitors(self) -> Iterator[Connection]:
        """Each that connects, until the door closes."""
        while True:
            try:
                yield self._listener.accept()
            except OSError:
                return


def knock(directory: Path) -> Connection:
    """Connect to the keeper in ``directory``. Raises OSError where there is none."""
    with _short(directory) as address:
        return Client(address, family="AF_UNIX")
