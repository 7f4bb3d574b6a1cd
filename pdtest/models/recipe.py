"""Models that pdtest writes itself: made once, complete or not there, and nobody else's files touched."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from pdtest.errors import PdtestError


class ModelDirectoryTaken(PdtestError):
    """The directory holds something that pdtest did not write and will not replace."""

    title = "model directory taken"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to write one kind of model.

    ``marker`` is written into the directory last, so a directory that has it is complete and ours to
    replace. ``version`` is raised when the recipe changes, so that models of an older one are made anew.
    ``write`` fills an empty directory with the model of a seed.
    """

    kind: str
    marker: str
    version: int
    write: Callable[[Path, int], None] = field(repr=False)

    def exists(self, directory: Path | str, *, seed: int | None = None) -> bool:
        """True when ``directory`` holds a complete model (of that ``seed``, when one is given)."""
        made = self._made(Path(directory))
        if made is None or made.get("recipe") != self.version:
            return False
        return seed is None or made.get("seed") == seed

    def ensure(self, directory: Path | str) -> Path:
        """The model in ``directory``, whatever it is; ours when there is none yet. As `make`."""
        target = Path(directory).absolute()
        foreign = self._made(target) is None and (target / "config.json").is_file()
        return target if foreign else self.make(target)

    def make(self, directory: Path | str, *, seed: int = 0, force: bool = False) -> Path:
        """Write the model to ``directory`` unless it is there already.

        Safe to call from several processes at once: one writes, the others wait and find it. ``force``
        writes anew what pdtest has written before. Raises ModelDirectoryTaken when the directory holds
        anything else, and what ``write`` raises.
        """
        target = Path(directory).absolute()
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / f".{target.name}.lock"):
            if self.exists(target, seed=seed) and not force:
                return target
            self._refuse_foreign(target, seed, force=force)
            temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
            try:
                self.write(temporary, seed)
                marker = json.dumps({"recipe": self.version, "seed": seed})
                (temporary / self.marker).write_text(marker, encoding="utf-8")
                _replace(target, temporary)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return target

    def _made(self, directory: Path) -> dict[str, Any] | None:
        """What the marker says; None without one."""
        try:
            made = json.loads((directory / self.marker).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return made if isinstance(made, dict) else None

    def _refuse_foreign(self, target: Path, seed: int, *, force: bool) -> None:
        made = self._made(target)
        if made is None and target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ModelDirectoryTaken(
                f"{target} holds files that pdtest did not write",
                expected="a directory that is absent, empty or made by pdtest",
                seen=", ".join(sorted(path.name for path in target.iterdir())[:5])
                if target.is_dir()
                else "a file",
                next_step="choose another directory; pdtest never deletes somebody else's",
            )
        if made is not None and made.get("recipe") == self.version and made.get("seed") != seed and not force:
            raise ModelDirectoryTaken(
                f"{target} holds a model of the kind '{self.kind}' and of another seed",
                expected=f"seed {seed}",
                seen=f"seed {made.get('seed')}",
                next_step="choose another directory, or pass --force to replace it",
            )


def _replace(target: Path, temporary: Path) -> None:
    """Put ``temporary`` where ``target`` is. A rename cannot replace a directory that has files."""
    _open_up(temporary)
    if target.exists():
        old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-old-"))
        target.rename(old / target.name)
        temporary.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        temporary.rename(target)


def _open_up(directory: Path) -> None:
    """Modes as the umask has them: mkdtemp and safetensors write for the owner only."""
    mask = _umask()
    directory.chmod(0o777 & ~mask)
    for file in directory.iterdir():
        file.chmod(0o666 & ~mask)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
