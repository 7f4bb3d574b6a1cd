"""`pdtest run`: pytest, with the environment and the suites by their names."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from pdtest.cli.catalogue import Root, catalogue_of, complete
from pdtest.cli.terminal import Misused
from pdtest.environment.catalogue import Catalogue, UnknownEnvironment
from pdtest.environment.nearest import suggestion

_SUITES: Final = "suites"
#: What comes after the environment is pytest's: its options are passed on as they are.
PASSING_ON: Final = {"allow_interspersed_args": False, "ignore_unknown_options": True}


class UnknownSuite(Misused):
    """A suite that is not there."""

    title = "unknown suite"


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ENV] [SUITE...] [PYTEST OPTIONS]",
            help="An environment, by name or path; suites by name (correctness) or path; options of pytest.",
            autocompletion=complete,
        ),
    ] = None,
    *,
    show: Annotated[bool, typer.Option("--show", help="Show the command line, and run nothing.")] = False,
    rootdir: Root = Path(),
) -> None:
    """Run suites on an environment: pytest with the right arguments, and its exit code.

    Without an environment pytest takes its default one, without suites those of its settings. From the first
    word on that begins with a dash, everything is pytest's.

    Exit codes are pytest's: 0 passed, 1 failed, 2 interrupted, 4 misused, 5 no tests.

    Example: [bold]pdtest run embedded correctness transfer -k nixl -x[/]

    Example: [bold]pdtest run vllm-cpu recovery --keep[/]
    """
    given = list(words or ())
    count = next((number for number, word in enumerate(given) if word.startswith("-")), len(given))
    env, suites = _split(given[:count], rootdir, catalogue_of(rootdir))
    argv = [sys.executable, "-m", "pytest", *_env(env), *suites, *given[count:]]
    if show:
        typer.echo(shlex.join(["pytest", *argv[3:]]))
        return
    sys.stdout.flush()
    os.chdir(rootdir)
    os.execv(argv[0], argv)  # noqa: S606 - so that Ctrl-C and exit codes are pytest's own


def _split(words: Sequence[str], rootdir: Path, catalogue: Catalogue) -> tuple[str | None, list[str]]:
    """The environment, if the first word names one, and paths of suites."""
    if not words:
        return None, []
    first, *others = words
    try:
        catalogue.file(first)
    except UnknownEnvironment:
        if _suite(first, rootdir) is None:
            raise
        return None, [_required(word, rootdir) for word in words]
    return first, [_required(word, rootdir) for word in others]


def _env(name: str | None) -> list[str]:
    """A path is made absolute: pytest runs in the project. ``=``, since pytest takes paths after spaces."""
    if name is None:
        return []
    path = Path(name)
    return [f"--env={path.resolve() if path.suffix and path.is_file() else name}"]


def _required(word: str, rootdir: Path) -> str:
    found = _suite(word, rootdir)
    if found is None:
        there = sorted(place.name for place in (rootdir / _SUITES).glob("*") if _is_suite(place))
        raise UnknownSuite(
            f"there is no suite '{word}'",
            expected=f"one of {', '.join(there)}, or a path"
            if there
            else "the path of a test file or folder",
            where=str((rootdir / _SUITES).resolve()),
            next_step=suggestion(word, there) if there else None,
        )
    return found


def _suite(word: str, rootdir: Path) -> str | None:
    """Its path from the project, with what pytest takes behind it: test_parity.py::test_plain."""
    path, separator, test = word.partition("::")
    for place in (Path(_SUITES) / path, Path(path)):
        if (rootdir / place).exists():
            return f"{place}{separator}{test}"
    return None


def _is_suite(place: Path) -> bool:
    return place.is_dir() and not place.name.startswith(("_", "."))
