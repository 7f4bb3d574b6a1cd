"""The files of a run that a report is made of: what can be read of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import yaml

from pdtest.errors import PdtestError
from pdtest.report.account.account import Unreadable

T = TypeVar("T")

#: What reading damaged files, and those of other versions, ends with.
_DAMAGE: Final = (PdtestError, OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError)


class Files:
    """Those below one run's directory. One that cannot be read keeps nobody from the others."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._unreadable: list[Unreadable] = []

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """Those that were passed over."""
        return tuple(self._unreadable)

    def each(self, pattern: str, read: Callable[[Path], T]) -> Iterator[T]:
        """What ``read`` makes of each file that matches, by name."""
        for file in sorted(self.run.glob(pattern)):
            try:
                found = read(file)
            except _DAMAGE as error:
                self._unreadable.append(Unreadable(file=str(file.relative_to(self.run)), why=_why(error)))
            else:
                yield found


def _why(error: Exception) -> str:
    told = (error.seen if isinstance(error, PdtestError) else None) or str(error)
    return f"{type(error).__name__}: {' '.join(told.split())}"
