"""A process's access to the store, and its share of the store's memory."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from pdtest.embedded.channel import ChannelServer, RemoteError
from pdtest.embedded.store.errors import DoesNotFit, StoreError, StoreUnreachable
from pdtest.embedded.store.link import Link, Registration
from pdtest.embedded.store.peers import Peers
from pdtest.embedded.store.segment import Segment

_T = TypeVar("_T")

#: How often a put is tried when the owner of the memory that it was given does not take it.
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What is put: an object, or a layer of one."""

    key: str
    content: bytes
    layer: int = 0
    layers: int = 1


class StoreClient:
    """Puts and gets objects; contributes a segment of memory that it serves on a port of its own.

    Objects are immutable: the key says what the content is (a content hash), so that a second put of a key
    stores nothing. Bytes travel directly between clients; the meta process knows where they are. A caller
    that is cancelled does not stop what it began: that ends by itself, so that nothing stays pinned.

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
        meta, _, meta_port = address.rpartition(":")
        if not meta or not meta_port.isdecimal():
            raise ValueError(f"the store's address is {address!r}, expected host:port of its meta process")
        self._host = host
        self._port = port
        self._segment = Segment(segment_bytes)
        self._server = ChannelServer({**self._segment.handlers(), **self._segment.owner_handlers()})
        self._link = Link(meta, int(meta_port), segment=self._segment, timeout_s=timeout_s)
        self._peers = Peers(timeout_s=timeout_s)
        self._under_way: set[asyncio.Task[Any]] = set()

    async def start(self, patience_s: float = 10.0) -> None:
        """Listen and register. The meta process may come up ``patience_s`` seconds later.

        Raises OSError when the port is taken, StoreUnreachable, StoreError.
        """
        await self._server.start(self._host, self._port)
        await self._link.start(self._host, self._server.port, patience_s=patience_s)

    async def close(self) -> None:
        """Take the segment out of the pool (its objects are lost) and hang up."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._link.close()
        await self._peers.close()
        await self._server.close()

    async def put(self, key: str, content: bytes) -> bool:
        """Store an object. False when it is there already, or on its way in.

        Raises DoesNotFit, StoreUnreachable, StoreError.
        """
        return key in await self.put_many({key: content})

    async def get(self, key: str) -> bytes | None:
        """The object; None for a miss: not there, not complete, its owner gone, or its checksum wrong.

        An object that was put in layers comes as one, in the order of the layers. Raises StoreUnreachable.
        """
        return (await self.get_many([key]))[0]

    async def exists(self, key: str) -> bool:
        """Whether a complete object is there. If so, it is not evicted for the next seconds (``--lease``)."""
        return (await self.exists_many([key]))[0]

    async def remove(self, key: str) -> bool:
        """Forget an object. False when there is none."""
        return (await self.remove_many([key]))[0]

    async def put_many(self, items: Mapping[str, bytes]) -> frozenset[str]:
        """Store objects; the keys that were new. Raises as `put`, once all that can be stored are."""
        parts = [_Part(key=key, content=content) for key, content in items.items()]
        return frozenset(part.key for part in await self._to_the_end(self._put(parts)))

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """`get` for each key, in order."""
        return await self._to_the_end(self._get(keys))

    async def exists_many(self, keys: Sequence[str]) -> list[bool]:
        """`exists` for each key, in order."""
        _, found = await self._link.ask("exists", keys=list(keys))
        return list(found)

    async def remove_many(self, keys: Sequence[str]) -> list[bool]:
        """`remove` for each key, in order."""
        _, removed = await self._link.ask("remove", keys=list(keys))
        return list(removed)

    async def put_layer(self, key: str, layer: int, content: bytes, *, layers: int) -> bool:
        """Store layer ``layer`` (from 0) of an object of ``layers`` layers; it exists once all are in.

        False when that layer is there already, or another client is putting the object. Raises as `put`;
        the layers that were in are then dropped: put none of the others.
        """
        part = _Part(key=key, content=content, layer=layer, layers=layers)
        return bool(await self._to_the_end(self._put([part])))

    async def get_layer(self, key: str, layer: int) -> bytes | None:
        """One layer of a complete object; None for a miss."""
        return (await self._to_the_end(self._get([key], layer)))[0]

    async def _to_the_end(self, work: Coroutine[Any, Any, _T]) -> _T:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _put(self, parts: Sequence[_Part]) -> list[_Part]:
        """Those that were new."""
        stored: list[_Part] = []
        refused: dict[str, str] = {}
        avoid: set[str] = set()
        for _ in range(_ATTEMPTS):
            items = [[part.key, len(part.content), part.layer, part.layers] for part in parts]
            registration, answer = await self._link.ask("allocate", items=items, avoid=list(avoid))
            given = list(zip(parts, answer["places"], strict=True))
            refused |= {part.key: place for part, place in given if isinstance(place, str)}
            placed = [(part, place) for part, place in given if isinstance(place, list)]
            problems = await asyncio.gather(*(self._write(*one, answer["at"]) for one in placed))
            written = [one for one, problem in zip(placed, problems, strict=True) if problem is None]
            stored += await self._complete(registration, written)
            failed = [(*one, problem) for one, problem in zip(placed, problems, strict=True) if problem]
            if not failed:
                break
            await self._link.ask_as(registration, "cancel", tickets=[place[0] for _, place, _ in failed])
            avoid |= {place[1] for _, place, _ in failed}
            parts = [part for part, _, _ in failed if part.layers == 1]
            if len(parts) < len(failed):
                raise StoreError(f"a layer was lost with the object's others: {failed[0][2]}")
        else:
            raise StoreError(f"no owner of memory took {parts[0].key!r}, {_ATTEMPTS} tried: {failed[0][2]}")
        if refused:
            key = next(iter(refused))
            raise DoesNotFit(
                f"{len(refused)} of the objects, {key!r} first: {refused[key]}", keys=list(refused)
            )
        return stored

    async def _write(self, part: _Part, place: list[Any], at: Mapping[str, list[Any]]) -> str | None:
        """Why it could not be written."""
        ticket, segment, offset = place
        try:
            if segment == self._segment.name:
                self._segment.write(segment, ticket, offset, part.content)
            else:
                arguments = {"segment": segment, "ticket": ticket, "offset": offset, "content": part.content}
                await self._peers.call(*self._owner(at[segment]), "write", **arguments)
        except (OSError, RemoteError, StoreError) as error:
            return f"segment {segment}: {str(error) or type(error).__name__}"
        return None

    async def _complete(
        self, registration: Registration, written: Iterable[tuple[_Part, list[Any]]]
    ) -> list[_Part]:
        parts = [part for part, _ in written]
        items = [[place[0], part.layer, zlib.crc32(part.content)] for part, place in written]
        if not items:
            return []
        stands = await self._link.ask_as(registration, "complete", items=items)
        late = [part.key for part, stood in zip(parts, stands, strict=True) if not stood]
        if late:
            raise StoreError(
                f"{len(late)} puts, {late[0]!r} first, were called off: too slow (--put-timeout of the store)"
                ", or the owner of their memory went away"
            )
        return parts

    async def _get(self, keys: Sequence[str], layer: int | None = None) -> list[bytes | None]:
        registration, answer = await self._link.ask("locate", keys=list(keys), layer=layer)
        places = answer["places"]
        fetched = await asyncio.gather(*(self._fetch(place, answer["at"]) for place in places))
        outcomes = [
            [place[0], outcome]
            for place, (_, outcome) in zip(places, fetched, strict=True)
            if place is not None
        ]
        if outcomes:
            with suppress(StoreUnreachable):  # then the pins are gone too
                await self._link.ask_as(registration, "release", items=outcomes)
        return [content for content, _ in fetched]

    async def _fetch(self, place: list[Any] | None, at: Mapping[str, list[Any]]) -> tuple[bytes | None, str]:
        """An object or layer, and the outcome as `release` wants it."""
        if place is None:
            return None, "lost"
        try:
            contents = await asyncio.gather(*(self._read(one, at) for one in place[1]))
        except (OSError, RemoteError, StoreError):
            return None, "lost"
        for content, (_, _, _, checksum) in zip(contents, place[1], strict=True):
            if zlib.crc32(content) != checksum:
                return None, "damaged"
        return b"".join(contents), "ok"

    async def _read(self, place: list[Any], at: Mapping[str, list[Any]]) -> bytes:
        segment, offset, size, _ = place
        if segment == self._segment.name:
            return self._segment.read(segment, offset, size)
        arguments = {"segment": segment, "offset": offset, "size": size}
        return bytes(await self._peers.call(*self._owner(at[segment]), "read", **arguments))

    def _owner(self, address: list[Any]) -> tuple[str, int]:
        host, port = address
        return host or self._link.host, port
