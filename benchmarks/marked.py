"""Everything that a pytest has started, found by a mark that it inherits."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final, Self

import psutil

from benchmarks.standing import ROOT

_MARK: Final = "PDTEST_TRIAL"


@dataclass(frozen=True, kw_only=True)
class MarkedRun:
    """A pytest that runs, or has run."""

    mark: str
    process: subprocess.Popen[bytes]

    @classmethod
    def begin(
        cls,
        arguments: Sequence[str],
        variables: Mapping[str, str] = {},
        output: int | IO[bytes] = subprocess.DEVNULL,
    ) -> Self:
        """Start it, in a session of its own."""
        mark = uuid.uuid4().hex
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
            cwd=ROOT,
            env={**os.environ, **variables, _MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return cls(mark=mark, process=process)

    def left(self) -> list[psutil.Process]:
        """What it has started and what lives, without itself. Its reaper carries no mark, only its pid."""
        return [process for process in psutil.process_iter() if self._has_started(process)]

    def _has_started(self, process: psutil.Process) -> bool:
        try:
            words = process.cmdline()
            is_reaper = "pdtest.launch.reaper" in words and str(self.process.pid) in words
            is_marked = process.environ().get(_MARK) == self.mark
        except psutil.Error:  # gone meanwhile, or somebody else's
            return False
        return process.pid != self.process.pid and (is_reaper or is_marked)
