"""An environment that stands while a benchmark asks it again and again."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from rich.console import Console

from pdtest.cluster.cluster import Cluster
from pdtest.cluster.vocabulary import vocabulary
from pdtest.environment.catalogue import Catalogue, default_directories
from pdtest.environment.schema import Environment
from pdtest.events import Journal
from pdtest.launch.registry import launchers
from pdtest.models import embedded, tiny
from pdtest.report.progress import Progress
from pdtest.services.registry import services

ROOT = Path(__file__).resolve().parents[1]

#: By `model.make`.
_MAKERS = {"embedded": embedded.ensure, "tiny": tiny.ensure}


def loaded(name: str) -> Environment:
    """The environment of that name, or of a file."""
    return Catalogue(default_directories(ROOT), vocabulary()).load(name)


@contextmanager
def standing(name: str, directory: Path) -> Iterator[Cluster]:
    """The environment ``name``, running, with everything it writes below ``directory``."""
    with prepared(name, directory) as cluster, Progress(Console(file=sys.stderr)) as watch:
        cluster.start(watch=watch)
        yield cluster


@contextmanager
def prepared(name: str, directory: Path) -> Iterator[Cluster]:
    """The environment ``name``, not started yet, with its model; stopped at the end."""
    environment = loaded(name)
    if environment.model.make is not None:
        path = _MAKERS[environment.model.make](directory / "model")
        model = environment.model.model_copy(update={"path": str(path)})
        environment = environment.model_copy(update={"model": model})
    journal = Journal(directory / "events.jsonl")
    cluster = Cluster(
        environment,
        directory,
        services=services(),
        launchers=launchers(),
        journal=journal,
        owner=f"benchmark-{secrets.token_hex(4)}",
    )
    try:
        yield cluster
    finally:
        cluster.stop()
        journal.close()


def attached(cluster: Cluster, file: Path) -> Path:
    """An environment file that attaches to a running cluster, for `pytest --env FILE`."""
    source = cluster.environment.source
    content = {
        "extends": str(Path(source or "").resolve()),
        "requires": {"memory_gib": None},
        "model": {"path": cluster.environment.model.path},
        "members": {
            name: {"launcher": "attach", "url": member.url} for name, member in cluster.members.items()
        },
    }
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file
