"""What the meta process knows about an object."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of a segment."""

    segment: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A layer that somebody wants to put. An object that is put whole has one layer."""

    key: str
    size: int
    layer: int = 0
    layers: int = 1


@dataclass(slots=True)
class Layer:
    """One layer's place. ``checksum`` (CRC-32) is known once its bytes are in."""

    extent: Extent
    checksum: int | None = None


@dataclass(eq=False, slots=True, kw_only=True)
class StoredObject:
    """An object, complete or on its way in; most have one layer.

    ``ticket`` is its number, never used twice: a key can come back with another one. ``active_at`` is when
    the writer last asked for something. ``writable``: its writer's bytes may still arrive. Space is given
    back only when nobody holds the object.
    """

    key: str
    ticket: int
    writer: str
    layers: list[Layer | None]
    active_at: float
    leased_until: float = 0.0
    #: How many reads each client has under way.
    readers: Counter[str] = field(default_factory=Counter)
    writable: bool = True

    @property
    def complete(self) -> bool:
        """All layers are in."""
        return all(layer is not None and layer.checksum is not None for layer in self.layers)

    @property
    def held(self) -> bool:
        """Somebody reads its bytes or may still write them."""
        return self.writable or bool(self.readers)

    @property
    def extents(self) -> list[Extent]:
        """Where its bytes are, as far as they have a place."""
        return [layer.extent for layer in self.layers if layer is not None]

    def evictable(self, now: float) -> bool:
        """Nobody reads or writes it and no lease protects it."""
        return self.complete and not self.held and self.leased_until <= now
