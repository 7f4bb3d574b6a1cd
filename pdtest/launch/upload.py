"""A directory copied to a host, once for each content."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

_CHUNK: Final = 256 * 1024


class Ask(Protocol):
    """`Conversation.ask`."""

    async def __call__(self, what: str, **data: Any) -> Mapping[str, Any]:
        """The answer."""
        ...


async def upload(ask: Ask, directory: Path) -> str:
    """Its path on the host, below the workdir, with all its files. Those that are there stay."""
    files, digest = await asyncio.to_thread(_surveyed, directory)
    target = f"models/{directory.name}-{digest[:16]}"
    for file in files:
        path = f"{target}/{file}"
        if not (await ask("put", path=path, data=None))["there"]:
            for offset, data, last in _chunks(directory / file):
                await ask("put", path=path, data=base64.b64encode(data).decode(), offset=offset, last=last)
    return str((await ask("put", path=target, data=None))["path"])


def _surveyed(directory: Path) -> tuple[list[Path], str]:
    files = sorted(path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file}\0".encode() + (directory / file).read_bytes())
    return files, digest.hexdigest()


def _chunks(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Where each begins, what it is, and whether it is the last; one even of an empty file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        last = False
        while not last:
            offset, data = file.tell(), file.read(_CHUNK)
            last = file.tell() >= size
            yield offset, data, last
