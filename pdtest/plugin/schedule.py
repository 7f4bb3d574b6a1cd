"""Which worker of xdist's runs which test. Imported in the controller, where xdist is at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class ByEnvironment(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Tests of one group go to one worker, in their order; all others to whichever is free.

    xdist's own `loadgroup` writes groups into the ids of tests, which pytest 9.2 no longer lets it (xdist
    3.8.0, remote.py, pytest_collection_modifyitems).
    """

    def __init__(self, config: pytest.Config, log: Any, groups: Callable[[], Mapping[str, str]]) -> None:
        """``groups`` gives those of tests by their ids; asked once, when all workers have collected."""
        super().__init__(config, log)
        self._ask = groups
        self._groups: Mapping[str, str] | None = None

    def _split_scope(self, nodeid: str) -> str:
        if self._groups is None:
            self._groups = self._ask()
        return self._groups.get(nodeid, nodeid)
