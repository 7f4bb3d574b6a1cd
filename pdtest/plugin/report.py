"""`--report`: the page of a run, made when all is over."""

from __future__ import annotations

import pytest
from _pytest.terminal import TerminalReporter

from pdtest.errors import PdtestError
from pdtest.plugin.options import report_file, report_wanted
from pdtest.plugin.run import Run
from pdtest.report.analysis import analyse_all
from pdtest.report.page import require, write_report


def prepare(config: pytest.Config) -> None:
    """Whatever stands in the way of a report is said before an hour of tests. Raises pytest.UsageError."""
    if not report_wanted(config):
        return
    try:
        require()
    except PdtestError as error:
        raise pytest.UsageError(str(error)) from error


def conclude(config: pytest.Config, run: Run, reporter: TerminalReporter | None) -> None:
    """Draw what loads were measured, and make the report if it is wanted.

    What goes wrong with it is told and changes no result.
    """
    try:
        analyse_all(run.directory)
        if not report_wanted(config):
            return
        said = f"report {write_report(run.directory, report_file(config, run.directory)).html}"
    except Exception as error:  # noqa: BLE001 - verdicts stand without it
        said = f"no report: {type(error).__name__}: {error}; 'pdtest report {run.directory}' tries again"
    if reporter is not None:
        reporter.write_line(f"pdtest: {said}")
