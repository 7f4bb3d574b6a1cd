"""A process's access to the store, and its share of the store's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class StoreClient:
    """Puts and gets objects; contributes a segment of memory that it serves on a port of its own.

    Objects are immutable: the key says what the content is (a content hash), so that a second put of a key
    stores nothing. Bytes travel directly between clients; the meta process knows where they are.

    Args:
        address: ``host:port`` of the meta process's channel.
        segment_bytes: memory contributed to the pool; 0 for none.
        host: where other clients reach this one.
        port: the segment's port; 0 for any free one.
        timeout_s: how long a call waits for the meta process or for another client.
    """

    def __init__(
        self,
        address: str,
        *,
        segment_bytes: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        timeout_s: float = 10.0,
    ) -> None:
        raise NotImplementedError

    async def start(self, patience_s: float = 10.0) -> None:
        """Listen and register. The meta process may come up ``patience_s`` seconds later.

        Raises OSError when the port is taken, StoreUnreachable.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Take the segment out of the pool (its objects are lost) and hang up."""
        raise NotImplementedError

    async def put(self, key: str, content: bytes) -> bool:
        """Store an object. False when it is there already, or on its way in.

        Raises DoesNotFit, StoreUnreachable.
        """
        raise NotImplementedError

    async def get(self, key: str) -> bytes | None:
        """The object; None for a miss: not there, not complete, its owner gone, or its checksum wrong.

        An object that was put in layers comes as one, in the order of the layers. Raises StoreUnreachable.
        """
        raise NotImplementedError

    async def exists(self, key: str) -> bool:
        """Whether a complete object is there. If so, it is not evicted for the next seconds (``--lease``)."""
        raise NotImplementedError

    async def remove(self, key: str) -> bool:
        """Forget an object. False when there is none."""
        raise NotImplementedError

    async def put_many(self, items: Mapping[str, bytes]) -> frozenset[str]:
        """Store objects; the keys that were new. Raises DoesNotFit once all that fit are stored."""
        raise NotImplementedError

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """`get` for each key, in order."""
        raise NotImplementedError

    async def exists_many(self, keys: Sequence[str]) -> list[bool]:
        """`exists` for each key, in order."""
        raise NotImplementedError

    async def remove_many(self, keys: Sequence[str]) -> list[bool]:
        """`remove` for each key, in order."""
        raise NotImplementedError

    async def put_layer(self, key: str, layer: int, content: bytes, *, layers: int) -> bool:
        """Store layer ``layer`` (from 0) of an object of ``layers`` layers; it exists once all are in.

        False when that layer is there already, or another client is putting the object. Raises as `put`.
        """
        raise NotImplementedError

    async def get_layer(self, key: str, layer: int) -> bytes | None:
        """One layer of a complete object; None for a miss."""
        raise NotImplementedError
