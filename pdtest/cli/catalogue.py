"""What commands about environments have in common: where they look for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pdtest.cluster.vocabulary import vocabulary
from pdtest.environment.catalogue import Catalogue, default_directories

Root = Annotated[
    Path, typer.Option("--rootdir", metavar="DIR", help="The project, which may have environments/.")
]
Home = Annotated[
    Path | None,
    typer.Option(
        "--pdtest-dir", metavar="DIR", help="Where runs and standing clusters are kept; default: .pdtest."
    ),
]


def home_of(rootdir: Path, given: Path | None) -> Path:
    """Where pytest keeps it, too."""
    return given.resolve() if given else rootdir.resolve() / ".pdtest"


def complete(incomplete: str) -> list[str]:
    """Names of environments that begin so, for the shell."""
    return [name for name in catalogue_of(Path()).names() if name.startswith(incomplete)]


def catalogue_of(rootdir: Path) -> Catalogue:
    """The environments that a project has, its own and those that come with pdtest."""
    return Catalogue(default_directories(rootdir), vocabulary=vocabulary())
