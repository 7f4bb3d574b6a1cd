"""A digest of a model's files, so that recorded answers are tied to the weights that gave them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from pdtest.errors import PdtestError
from pdtest.whole import write_whole

_CACHE: Final = "fingerprints.json"
_STEP: Final = 1 << 20


class NoSuchModel(PdtestError):
    """A model directory that is not there or empty."""

    title = "no such model"

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"there are no model files in {directory}",
            expected="a directory with config.json and weights",
            seen="an empty directory" if directory.is_dir() else "no directory",
            next_step=f"pdtest model make {directory}   (a small random model)",
        )


def fingerprint(directory: Path | str, *, cache: Path | None = None) -> str:
    """SHA-256 (hex) over the names and contents of all files below ``directory``.

    Hidden files are left out: hubs keep their bookkeeping there. Digests of single files are kept in
    ``cache`` (a directory) as long as size, modification time and inode stay the same, since reading
    weights takes minutes. Raises NoSuchModel.
    """
    root = Path(directory)
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if _counts(path, root))
    if not names:
        raise NoSuchModel(root)
    store = cache / _CACHE if cache else None
    known = _read(store) if store else {}
    total = hashlib.sha256()
    seen: dict[str, str] = {}
    for name in names:
        key = _identity(root / name)
        seen[key] = known.get(key) or _digest(root / name)
        # Lengths apart the fields, so that no two sets of files run together into the same bytes.
        total.update(f"{len(name.encode())}:{name}={seen[key]};".encode())
    if store and not seen.keys() <= known.keys():
        _write(store, {**_fresh(known, seen), **seen})
    return total.hexdigest()


def _counts(path: Path, root: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)


def _identity(file: Path) -> str:
    stat = file.stat()
    return f"{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_STEP):
            digest.update(chunk)
    return digest.hexdigest()


def _fresh(known: dict[str, str], seen: dict[str, str]) -> dict[str, str]:
    """Without former states of the files that were just read."""
    paths = {key.split("|", 1)[0] for key in seen}
    return {key: digest for key, digest in known.items() if key.split("|", 1)[0] not in paths}


def _read(store: Path) -> dict[str, str]:
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # absent or torn: it is only a cache
    return known if isinstance(known, dict) else {}


def _write(store: Path, digests: dict[str, str]) -> None:
    write_whole(store, json.dumps(digests, indent=1, sort_keys=True))
