"""Which worker of xdist's runs which test. Imported in the controller, where xdist is at work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Tests without a cluster that go to a worker together, of one file: they may share what a fixture has made.
_TOGETHER: Final = 8


class ByEnvironment(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Tests of one group go to one worker, in their order; others a few of a file at a time.

    xdist's own `loadgroup` writes groups into the ids of tests, which pytest 9.2 no longer lets it (xdist
    3.8.0, remote.py, pytest_collection_modifyitems).
    """

    def __init__(self, config: pytest.Config, log: Any, groups: Callable[[], Mapping[str, str]]) -> None:
        """``groups`` gives those of tests by their ids; asked once, when all workers have collected."""
        super().__init__(config, log)
        self._ask = groups
        self._groups: dict[str, str] | None = None
        self._seen: Counter[str] = Counter()

    def _split_scope(self, nodeid: str) -> str:
        if self._groups is None:
            self._groups = dict(self._ask())
        if nodeid not in self._groups:
            file = nodeid.partition("::")[0]
            self._groups[nodeid] = f"{file} {self._seen[file] // _TOGETHER}"
            self._seen[file] += 1
        return self._groups[nodeid]
