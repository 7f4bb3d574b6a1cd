"""Command-line options and ini settings."""

from __future__ import annotations

import pytest


def add_options(parser: pytest.Parser) -> None:
    """Everything under `pytest --help`, section pdtest."""
    group = parser.getgroup("pdtest", "prefill/decode disaggregation")
    group.addoption(
        "--env",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="environment to test, by name ('pdtest env list') or file; may be given several times",
    )
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
        "--pdtest-seed",
        metavar="SEED",
        help="seed of all prompts, to repeat a run; default: a new one, shown in the header",
    )
    group.addoption(
        "--pdtest-dir",
        metavar="DIR",
        help="where runs, references and models are kept; default: .pdtest under the root directory",
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
