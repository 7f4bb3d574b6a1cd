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


def catalogue_of(rootdir: Path) -> Catalogue:
    """The environments that a project has, its own and those that come with pdtest."""
    return Catalogue(default_directories(rootdir), vocabulary=vocabulary())
