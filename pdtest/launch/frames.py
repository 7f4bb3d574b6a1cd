"""How output comes over a bridge's socket: pieces with a kind and a length before them.

Kinds: `a` an answer, JSON; `o` output; `x` the end, JSON.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping
from typing import IO, Any, Final

_HEADER: Final = struct.Struct(">cI")


def framed(kind: bytes, data: bytes) -> bytes:
    """As it travels."""
    return _HEADER.pack(kind, len(data)) + data


def told(kind: bytes, what: Mapping[str, Any]) -> bytes:
    """JSON as it travels."""
    return framed(kind, json.dumps(what).encode())


async def next_frame(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Raises asyncio.IncompleteReadError, which is an EOFError, when there is none."""
    kind, length = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    return kind, await reader.readexactly(length)


def read_frame(file: IO[bytes]) -> tuple[bytes, bytes]:
    """Raises EOFError when there is none."""
    kind, length = _HEADER.unpack(_exactly(file, _HEADER.size))
    return kind, _exactly(file, length)


def _exactly(file: IO[bytes], length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return data
