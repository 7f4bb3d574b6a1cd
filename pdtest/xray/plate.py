"""One record of an X-ray, as an engine wrote it: what one rank held of one prompt."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator


class Side(StrEnum):
    """Where the record was made."""

    PUBLISHED = "published"
    RECEIVED = "received"


class Half(StrEnum):
    """K or V, in the order of the records."""

    K = "K"
    V = "V"


def _unpacked(code: str) -> Any:
    def read(text: object) -> object:
        if not isinstance(text, str):
            return text
        values = array(code)
        values.frombytes(base64.b64decode(text))
        if sys.byteorder == "big":
            values.byteswap()
        return values

    return PlainValidator(read)


class Plate(BaseModel):
    """Digests of shape (layers, 2, tokens, heads); tokens are those of ``prompt``, from its beginning.

    ``request`` is None where the engine does not know what the client called it. ``cached``: how many of the
    tokens were in the engine's prefix cache. ``blocks``: which of the engine's blocks hold them.
    """

    model_config = ConfigDict(frozen=True)

    side: Side
    engine: str
    rank: int
    request: str | None
    sequence: str
    prompt: tuple[int, ...]
    cached: int
    block_size: int = Field(gt=0)
    blocks: tuple[int, ...]
    first_layer: int
    layers: int
    first_head: int
    heads: int
    exact: Annotated[Sequence[int], _unpacked("Q")]
    projection: Annotated[Sequence[float], _unpacked("f")]
    peak: Annotated[Sequence[float], _unpacked("f")]
    at: float
    took_s: float = 0.0
    member: str = ""

    @property
    def tokens(self) -> int:
        """How many tokens' KV it covers."""
        return len(self.prompt)

    @property
    def bytes(self) -> int:
        """Size of the digests."""
        return 16 * len(self.exact)

    def complete(self) -> bool:
        """False for a record whose arrays have not the size that its numbers say."""
        size = self.layers * len(Half) * self.tokens * self.heads
        return all(len(values) == size for values in (self.exact, self.projection, self.peak))

    def index(self, layer: int, half: Half, token: int, head: int) -> int:
        """Where a row is in the arrays. Layers and heads count over the whole model."""
        row = (layer - self.first_layer) * len(Half) + (half is Half.V)
        return (row * self.tokens + token) * self.heads + head - self.first_head
