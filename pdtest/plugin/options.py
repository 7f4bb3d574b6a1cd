"""Command-line options and ini settings."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from pdtest.plugin.xray import XrayMode

_TAKE_PATHS: Final = frozenset({"--env", "--pdtest-dir"})
#: ``--report`` without a file.
REPORT_IN_RUN: Final = "true"
#: Where pytest's settings may be, and how their section begins there.
_SETTINGS: Final = {
    "pytest.ini": "[pytest]",
    ".pytest.ini": "[pytest]",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}


def add_options(parser: pytest.Parser) -> None:
    """Everything under `pytest --help`, section pdtest."""
    group = parser.getgroup("pdtest", "prefill/decode disaggregation")
    _what_is_tested(group)
    _what_may_pass(group)
    _what_is_looked_at(group)
    _what_is_kept(group)
    parser.addini(
        "pdtest_report",
        help="true, or a file: as --report",
        default="",
    )
    parser.addini(
        "pdtest_default_env",
        help="environment that is tested when neither --env nor -m names one",
        default="",
    )
    parser.addini(
        "pdtest_environments",
        type="paths",
        help="further directories with environment files",
        default=[],
    )


def _what_is_tested(group: pytest.OptionGroup) -> None:
    """Environments, and clusters of them."""
    group.addoption(
        "--env",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="environment to test, by name ('pdtest env list') or file; may be given several times",
    )
    group.addoption(
        "--fresh",
        action="store_true",
        help="start members of one's own, also where a cluster of the environment stands ('pdtest up')",
    )
    group.addoption(
        "--keep",
        action="store_true",
        help="when a test does not pass, leave its cluster running, and say how to get at it; best with -x",
    )
    group.addoption(
        "--cluster-wait",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long to wait for a standing cluster that somebody uses, and for devices that another run "
        "holds; 0: fail at once (default: 600)",
    )
    group.addoption(
        "--pdtest-seed",
        metavar="SEED",
        help="seed of all prompts, to repeat a run; default: a new one, shown in the header",
    )
    group.addoption(
        "--pdtest-dir",
        metavar="DIR",
        help="where runs, references and models are kept; default: .pdtest under the root directory",
    )


def _what_may_pass(group: pytest.OptionGroup) -> None:
    """What does not fail a run, and what it may break."""
    group.addoption(
        "--allow-inconclusive",
        action="store_true",
        help="tests that end inconclusive do not fail the run",
    )
    group.addoption(
        "--allow-unschedulable",
        action="store_true",
        help="environments that cannot run on this machine do not fail the run",
    )
    group.addoption(
        "--allow-disruption",
        action="store_true",
        help="run tests marked 'disruptive' also where they may hurt members that are attached to",
    )


def _what_is_looked_at(group: pytest.OptionGroup) -> None:
    """Looking closer than tests do by themselves."""
    group.addoption(
        "--xray",
        choices=[mode.value for mode in XrayMode],
        default=XrayMode.AUTO.value,
        help="hold the KV that decode received against what prefill published: on, off, or auto: engines are "
        "restarted for it once, after the first wrong answer, and that test's requests repeated",
    )
    group.addoption(
        "--mutants",
        metavar="NAMES",
        help="run each test with no bug planted, then with one mutant after the other, and print which suite "
        "kills which: all, quick, usual (those that the environment names), or names with commas between "
        "('pdtest mutants list')",
    )
    group.addoption(
        "--kill-table",
        metavar="FILE",
        help="with --mutants: where to write the table as JSON, too, and beside it as PNG",
    )


def _what_is_kept(group: pytest.OptionGroup) -> None:
    """What a run is held against, and leaves for people."""
    group.addoption(
        "--baseline",
        metavar="NAME|save[:NAME]|add[:NAME]",
        help="hold what suites/performance measures against the baseline NAME, or keep it as one: in place "
        "of what has that name ('default'), or beside it",
    )
    group.addoption(
        "--report",
        nargs="?",
        const=REPORT_IN_RUN,
        metavar="FILE",
        help="make a page of everything at the end: report.html in the run's directory, or "
        "--report=FILE.html; as .json, and in short as .md, beside it ('pdtest report' makes it later)",
    )


def refuse_misread_path(config: pytest.Config) -> None:
    """``--env FILE`` must not move pytest's root directory to where that file lies; nor ``--pdtest-dir DIR``.

    pytest looks for its settings before it knows our options, takes a path after a space for a test's, and
    starts looking there. With the path in another tree this project's settings would be passed over.
    Raises pytest.UsageError.
    """
    words = [str(word) for word in config.invocation_params.args]
    here = config.invocation_params.dir
    given = [pair for pair in pairwise(words) if pair[0] in _TAKE_PATHS and (here / pair[1]).exists()]
    if given and config.inipath is None and _has_settings(here):
        option, path = given[0]
        raise pytest.UsageError(
            f"pytest has taken the path in '{option} {path}' for that of a test, and {config.rootpath} for "
            f"the root directory: the settings in {here} do not count\n  next     write {option}={path}"
        )


def report_wanted(config: pytest.Config) -> bool:
    """Whether a report is to be made. Raises pytest.UsageError where its file cannot be one."""
    given = _report(config)
    if given and given != REPORT_IN_RUN and not given.endswith(".html"):
        raise pytest.UsageError(
            f"--report was given '{given}', which does not end with .html\n"
            "  next     write --report=FILE.html; or --report after the tests, for the run's directory"
        )
    return bool(given)


def report_file(config: pytest.Config, run_directory: Path) -> Path:
    """Where the report goes that is wanted."""
    given = _report(config)
    return run_directory / "report.html" if given == REPORT_IN_RUN else config.invocation_params.dir / given


def _report(config: pytest.Config) -> str:
    option: str | None = config.getoption("report")
    setting = str(config.getini("pdtest_report")).strip()
    given = option if option is not None else setting
    return (
        "" if given.lower() in {"false", "no", "0"} else REPORT_IN_RUN if given.lower() == "true" else given
    )


def _has_settings(directory: Path) -> bool:
    files = ((directory / name, section) for name, section in _SETTINGS.items())
    return any(file.is_file() and section in file.read_text(encoding="utf-8") for file, section in files)
