"""Values that say what they are: another key's bytes, and where they begin, are recognised."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

#: Every page begins with what it is a page of.
_PAGE = 4096
#: There is no room for a page's beginning in less: then it is a hash, which differs at least.
_SHORT = 128
_HEADER = re.compile(rb"<([^<>|]*)\|([^<>|]*)\|(\d+)>")


@dataclass(frozen=True, kw_only=True)
class Value:
    """What is put under a key. ``nonce`` tells it from other values of that key, also of earlier runs."""

    key: str
    nonce: str
    size: int

    @cached_property
    def content(self) -> bytes:
        """The bytes, the same for the same key, nonce and size."""
        body = hashlib.shake_256(f"{self.key}|{self.nonce}".encode()).digest(_PAGE)
        if self.size <= _SHORT:
            return body[: self.size]
        pages = (self._page(index, body) for index in range(-(-self.size // _PAGE)))
        return b"".join(pages)[: self.size]

    def layers(self, count: int) -> list[bytes]:
        """The content in ``count`` parts; the last is smaller where it does not divide."""
        step = -(-self.size // count)
        return [self.content[index * step : (index + 1) * step] for index in range(count)]

    def flaw(self, seen: bytes | None) -> str | None:
        """What is wrong with ``seen``, in words; None when it is this value."""
        if seen == self.content:
            return None
        if seen is None:
            return "is absent"
        if len(seen) != self.size and self.content.startswith(seen):
            return f"was cut to {len(seen)} of its {self.size} bytes"
        at = next(
            (index for index, (a, b) in enumerate(zip(seen, self.content, strict=False)) if a != b),
            min(len(seen), self.size),
        )
        sizes = f"{len(seen)} bytes where {self.size} were put"
        return f"came back with {sizes}, wrong from byte {at} on: {_holds(seen, at)}"

    def _page(self, index: int, body: bytes) -> bytes:
        header = f"<{self.key}|{self.nonce}|{index}>".encode()
        return header + body[len(header) :]


def _holds(seen: bytes, at: int) -> str:
    """Whose bytes are there."""
    page = seen[at - at % _PAGE :][:_PAGE]
    header = _HEADER.match(page)
    if header is None:
        return "bytes of no value that pdtest made" if page.strip(b"\0") else "zeros"
    key, nonce, index = (part.decode() for part in header.groups())
    return f"page {index} of key {key!r}, nonce {nonce}"
