"""The embedded store's client, driven by another program (pdtest/stores/agents/agent.py loads this file).

The client lives on a loop in a thread of its own, so that it serves its segment to others while nobody asks
it for anything.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from pdtest.embedded.store.client import StoreClient
from pdtest.embedded.store.errors import DoesNotFit, StoreError, StoreUnreachable

_T = TypeVar("_T")
_Refusals = list[list[Any] | None]


def connect(segment_bytes: int, settings: dict[str, Any]) -> EmbeddedBackend:
    """A registered client. Raises StoreError."""
    return EmbeddedBackend(segment_bytes, **settings)


class EmbeddedBackend:
    """The methods that the agent asks for, on `StoreClient`."""

    def __init__(self, segment_bytes: int, address: str, host: str, timeout_s: float) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._client = self._run(_started(address, segment_bytes, host, timeout_s))
        self._layers: dict[str, int] = {}

    def put(self, keys: list[str], blobs: list[bytes]) -> _Refusals:
        """A key that is there already is not refused: the key says what the content is."""
        return self._told(keys, self._client.put_many(dict(zip(keys, blobs, strict=True))))

    def get(self, keys: list[str]) -> tuple[_Refusals, list[bytes]]:
        """A miss has many reasons, of which the client says none."""
        try:
            contents = self._run(self._client.get_many(keys))
        except StoreError as error:
            return [_refusal(error)] * len(keys), [b""] * len(keys)
        misses: _Refusals = [None if content is not None else ["absent", 0, "a miss"] for content in contents]
        return misses, [content or b"" for content in contents]

    def exists(self, keys: list[str]) -> Sequence[bool | list[Any]]:
        """Whether complete objects are there, or why that cannot be told."""
        try:
            return self._run(self._client.exists_many(keys))
        except StoreError as error:
            return [_refusal(error)] * len(keys)

    def remove(self, keys: list[str]) -> _Refusals:
        """Leases do not hold it up."""
        try:
            removed = self._run(self._client.remove_many(keys))
        except StoreError as error:
            return [_refusal(error)] * len(keys)
        return [None if gone else ["absent", 0, "there is none"] for gone in removed]

    def put_layers(self, key: str, blobs: list[bytes]) -> _Refusals:
        """One after the other; ends at the first that is refused."""
        self.begin(key, [len(blob) for blob in blobs])
        for layer, blob in enumerate(blobs):
            refusals = self.write(key, layer, [blob])
            if refusals != [None]:
                return refusals
        return self.finish(key)

    def begin(self, key: str, sizes: list[int]) -> _Refusals:
        """The first layer's put is what begins it."""
        self._layers[key] = len(sizes)
        return [None]

    def write(self, key: str, layer: int, blobs: list[bytes]) -> _Refusals:
        """One layer."""
        put = self._client.put_layer(key, layer, blobs[0], layers=self._layers[key])
        return self._told([key], put)

    def finish(self, key: str) -> _Refusals:
        """The last layer's put is what ends it."""
        del self._layers[key]
        return [None]

    def get_layers(self, key: str, sizes: list[int]) -> tuple[_Refusals, list[bytes]]:
        """Each by itself."""
        contents = [self._run(self._client.get_layer(key, layer)) for layer in range(len(sizes))]
        if any(content is None for content in contents):
            return [["absent", 0, "a miss"]], []
        return [None], [content or b"" for content in contents]

    def close(self) -> None:
        """Takes the segment out of the pool."""
        self._run(self._client.close())

    def _told(self, keys: Sequence[str], work: Coroutine[Any, Any, object]) -> _Refusals:
        try:
            self._run(work)
        except DoesNotFit as error:
            return [_refusal(error) if key in error.keys else None for key in keys]
        except StoreError as error:
            return [_refusal(error)] * len(keys)
        return [None] * len(keys)

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _started(address: str, segment_bytes: int, host: str, timeout_s: float) -> StoreClient:
    client = StoreClient(address, segment_bytes=segment_bytes, host=host, timeout_s=timeout_s)
    await client.start()
    return client


def _refusal(error: StoreError) -> list[Any]:
    kinds = {DoesNotFit: "no room", StoreUnreachable: "unreachable"}
    return [kinds.get(type(error), "other"), 0, str(error)]
