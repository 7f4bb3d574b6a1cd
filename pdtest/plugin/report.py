"""`--report`: the page of a run, made when all is over."""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

from pdtest.errors import PdtestError
from pdtest.plugin.options import report_file, report_wanted
from pdtest.plugin.stash import RUN
from pdtest.plugin.workers import Foreman
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


def conclude(config: pytest.Config, reporter: TerminalReporter | None) -> None:
    """Draw what loads were measured, and make the report if it is wanted: when all is over, not in workers.

    What goes wrong with it is told and changes no result.
    """
    directory = _run_directory(config)
    if directory is None:
        return
    try:
        analyse_all(directory)
        if not report_wanted(config):
            return
        said = f"report {write_report(directory, report_file(config, directory)).html}"
    except Exception as error:  # noqa: BLE001 - verdicts stand without it
        said = f"no report: {type(error).__name__}: {error}; 'pdtest report {directory}' tries again"
    if reporter is not None:
        reporter.write_line(f"pdtest: {said}")


def _run_directory(config: pytest.Config) -> Path | None:
    """Of the run that is over; None where there was none, or where it goes on without us."""
    foreman = config.pluginmanager.getplugin("pdtest-foreman")
    if isinstance(foreman, Foreman):
        return foreman.directory if foreman.directory.is_dir() else None
    run = config.stash.get(RUN, None)
    return run.directory if run is not None and run.worker is None else None
