"""The environment files that can be named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pdtest.environment.extends import SUFFIXES, Composer
from pdtest.environment.finding import KeyPath
from pdtest.environment.loading import load
from pdtest.environment.nearest import suggestion
from pdtest.environment.schema import Environment
from pdtest.environment.vocabulary import Vocabulary
from pdtest.errors import PdtestError

#: Parts for others to extend, and what editors leave behind.
_UNLISTED: Final = ("_", ".")


class UnknownEnvironment(PdtestError):
    """A name under which no environment is found."""

    title = "unknown environment"

    def __init__(self, name: str, names: Sequence[str], directories: Sequence[Path]) -> None:
        self.name = name
        self.names = tuple(names)
        places = ", ".join(str(directory) for directory in directories) or "nowhere"
        super().__init__(
            f"there is no environment '{name}'",
            expected="a name that 'pdtest env list' shows, or the path of a YAML file",
            seen=name,
            where=f"searched in {places}",
            next_step=suggestion(name, names),
        )


@dataclass(frozen=True)
class Catalogue:
    """Environments by name. Of two files with one name, the earlier directory's counts.

    Files whose names begin with ``_`` are parts for others to extend and are not listed.
    """

    directories: tuple[Path, ...]
    vocabulary: Vocabulary | None = None

    def files(self) -> dict[str, Path]:
        """Every listed environment's file, by name, sorted."""
        found: dict[str, Path] = {}
        for directory in self.directories:
            for suffix in SUFFIXES:
                for file in directory.glob(f"*{suffix}"):
                    if not file.name.startswith(_UNLISTED):
                        found.setdefault(file.stem, file)
        return dict(sorted(found.items()))

    def names(self) -> tuple[str, ...]:
        """Names that `load` takes."""
        return tuple(self.files())

    def file(self, name_or_path: str | Path) -> Path:
        """The file meant by a name or a path. Raises UnknownEnvironment."""
        path = Path(name_or_path)
        looks_like_path = path.suffix in SUFFIXES or len(path.parts) > 1
        if looks_like_path and path.is_file():
            return path
        for place in self._places(str(name_or_path)):
            if place.is_file():
                return place
        raise UnknownEnvironment(str(name_or_path), self.names(), self.directories)

    def _places(self, name: str) -> Iterator[Path]:
        """Where a listed environment of this name may lie, in the order in which they count."""
        if not name.startswith(_UNLISTED) and Path(name).name == name:
            yield from (directory / f"{name}{end}" for directory in self.directories for end in SUFFIXES)

    def load(self, name_or_path: str | Path, *, variables: Mapping[str, str] | None = None) -> Environment:
        """The environment of that name or path. Raises UnknownEnvironment or EnvironmentInvalid."""
        return load(
            self.file(name_or_path),
            vocabulary=self.vocabulary,
            variables=variables,
            search=self.directories,
        )

    def spelling(self, name_or_path: str | Path, path: KeyPath) -> str | None:
        """A value as its file has it, with its variables: `${PREFILL_URL:-http://127.0.0.1:8100}`."""
        try:
            tree = Composer(search=self.directories, variables=os.environ).compose(self.file(name_or_path))
        except PdtestError:
            return None
        found, node = tree.known(path)
        return node.value if found == path and isinstance(node.value, str) else None

    def members(self, name_or_path: str | Path) -> tuple[str, ...]:
        """Names of its members as they are written, those that are optional and left out included."""
        composer = Composer(search=self.directories, variables=os.environ)
        written = composer.compose(self.file(name_or_path)).child("members")
        return tuple(name for name, member in (written.data() if written else {}).items() if member)

    def marks(self, name: str) -> frozenset[str]:
        """Its marks, also when nothing else in it is fit for use yet: variables may not be set here."""
        composer = Composer(search=self.directories, variables=os.environ)
        try:
            marks = composer.compose(self.file(name)).child("marks")
        except PdtestError:
            return frozenset()
        written = marks.data() if marks else []
        return frozenset(mark for mark in written if isinstance(mark, str)) if written else frozenset()


def default_directories(rootdir: Path) -> tuple[Path, ...]:
    """The project's own `environments/`, then those that come with pdtest. Only existing ones."""
    package = Path(__file__).resolve().parents[1]
    # In a checkout the directory lies beside the package; a wheel carries it inside.
    shipped = [package / "environments", package.parent / "environments"]
    candidates = [rootdir / "environments", *[place for place in shipped if place.is_dir()][:1]]
    unique = {place.resolve(): place for place in reversed(candidates) if place.is_dir()}
    return tuple(reversed(unique.values()))
