"""Everything the plugin keeps on pytest's objects, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pdtest.oracle.client_load import ClientLoad
    from pdtest.plugin.mutants import Killing
    from pdtest.plugin.record import TestRecord
    from pdtest.plugin.run import Run
    from pdtest.plugin.selection import Selection
    from pdtest.results import Result

#: On config: the environments this invocation may use.
SELECTION: pytest.StashKey[Selection] = pytest.StashKey()
#: On config: the run, once a test needed a cluster.
RUN: pytest.StashKey[Run] = pytest.StashKey()
#: On config: what was measured of a client's load, by environment.
LOADS: pytest.StashKey[dict[str, ClientLoad]] = pytest.StashKey()
#: On config: runs of environments' workloads, by environment, workload and side.
MEASURED: pytest.StashKey[dict[tuple[str, str, str], tuple[Result, ...]]] = pytest.StashKey()
#: On config: planted bugs and what became of them; None without --mutants.
KILLING: pytest.StashKey[Killing | None] = pytest.StashKey()
#: On item: what the test did.
RECORD: pytest.StashKey[TestRecord] = pytest.StashKey()
