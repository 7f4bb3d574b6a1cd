"""junit.xml in the run directory, for those who did not ask for one elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest import junitxml


def keep_junit(config: pytest.Config, directory: Path) -> None:
    """Have pytest write ``directory``/junit.xml, unless --junitxml named a file.

    pytest decides on this before it collects. We know only afterwards whether any test uses a cluster,
    so its plugin is started late, with what it missed: the session's start.
    """
    if not config.pluginmanager.has_plugin("junitxml") or config.option.xmlpath:
        return
    config.option.xmlpath = str(directory / "junit.xml")
    junitxml.pytest_configure(config)
    config.stash[junitxml.xml_key].pytest_sessionstart()
