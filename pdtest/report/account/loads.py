"""The loads of a run, of either kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pdtest.report.account.client_load import FILE as CLIENT_LOAD
from pdtest.report.account.client_load import client_load
from pdtest.report.account.files import Files
from pdtest.report.account.load import LoadShown, load_shown
from pdtest.results import read_result
from pdtest.results.result import FILE as RESULT


def loads_of(files: Files) -> Iterator[LoadShown]:
    """Those that pdtest sent in the order they were measured, then those that a client led."""
    yield from measured_of(files)
    yield from files.each(f"*/{CLIENT_LOAD}", lambda file: client_load(file, files.run))


def measured_of(files: Files) -> list[LoadShown]:
    """Those with a result."""

    def shown(file: Path) -> LoadShown:
        return load_shown(files.run, file.parent, read_result(file))

    return sorted(files.each(f"**/{RESULT}", shown), key=lambda load: load.begun_at)
