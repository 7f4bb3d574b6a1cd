"""``--baseline``: what was measured is held against earlier runs, or kept for later ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from pdtest.compare import Baselines, Comparison
from pdtest.oracle.against import against, comparison_findings, keep
from pdtest.oracle.verdict import Finding
from pdtest.plugin.performance import Loads
from pdtest.plugin.wanted import current_run
from pdtest.report.comparison import table
from pdtest.results import Result

_SAVE: Final = "save"
_ADD: Final = "add"
_DEFAULT: Final = "default"

#: The `baseline` fixture: findings on the runs of one load.
Against = Callable[[Sequence[Result]], list[Finding]]


@pytest.fixture
def baseline(request: pytest.FixtureRequest, loads: Loads) -> Against:
    """Holds the runs of a load against those that ``--baseline NAME`` names, and gives findings to rule on.

    Use it as ``rule("no worse than the baseline", baseline(loads.runs()))``. Prints the table and writes
    comparison-<load>.json into the run's directory. With ``--baseline save[:NAME]`` the runs are kept
    instead, for later; with ``add[:NAME]`` beside those that are there. Skips without the option. What
    is tolerated is said by the environment's `compare`.
    """
    asked = request.config.getoption("baseline")
    if not asked:
        pytest.skip("no --baseline NAME to compare with, nor --baseline save[:NAME]")
    run = current_run(request.config)
    kept = Baselines(directory=run.home / "baselines")
    word, _, rest = str(asked).partition(":")

    def findings(results: Sequence[Result]) -> list[Finding]:
        if word in {_SAVE, _ADD}:
            return keep(rest or _DEFAULT, results, kept, add=word == _ADD)
        comparison = against(str(asked), results, kept, loads.environment.compare)
        if comparison is not None:
            _write(comparison, run.directory / loads.environment.name)
            loads.show(table(comparison))
        return comparison_findings(comparison, str(asked))

    return findings


def _write(comparison: Comparison, directory: Path) -> None:
    """For the report, which reads a run's directory."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"comparison-{comparison.workload}-{comparison.target}.json"
    path.write_text(comparison.model_dump_json(indent=1) + "\n", encoding="utf-8")
