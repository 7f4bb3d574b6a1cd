"""One client of a store."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pdtest.services.pool import PoolAccess
from pdtest.stores.errors import Kind, Refusal, StoreClientSilent, StoreRefused
from pdtest.stores.process import AgentProcess, Frame

#: To load the store's package and to register.
_START_S = 60.0


class StoreClient:
    """A process that is a client of the store, asked one thing at a time.

    Methods for one key raise `StoreRefused`; those for many say which keys were refused. All raise
    `StoreClientGone` when the process ends, `StoreClientSilent` after ``timeout_s`` and `StoreClientBroken`
    when a call raises within the client.
    """

    def __init__(self, agent: AgentProcess, *, segment_bytes: int, timeout_s: float) -> None:
        self.segment_bytes = segment_bytes
        self._agent = agent
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._over = False

    @classmethod
    async def start(  # noqa: PLR0913 - by keyword what it needs
        cls,
        access: PoolAccess,
        directory: Path,
        *,
        name: str,
        segment_bytes: int,
        env: Mapping[str, str],
        timeout_s: float = 20.0,
    ) -> StoreClient:
        """Start one and let it register. Raises as its methods do, OSError."""
        command = replace(
            access.command,
            argv=tuple(part.replace("{segment}", str(segment_bytes)) for part in access.command.argv),
            env={
                name: value.replace("{directory}", str(directory))
                for name, value in access.command.env.items()
            },
        )
        agent = await AgentProcess.start(command, directory, name=name, env=env)
        client = cls(agent, segment_bytes=segment_bytes, timeout_s=timeout_s)
        try:
            await client._wait(agent.receive(), _START_S, "to register")
        except BaseException:
            await agent.kill()
            raise
        return client

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._agent.name

    async def put(self, key: str, content: bytes) -> None:
        """Store an object. One that is there already stays: no store here replaces."""
        self._enforce("put", await self.put_many({key: content}))

    async def put_many(self, items: Mapping[str, bytes]) -> dict[str, Refusal]:
        """Store objects with one call; what was refused, by key."""
        asked = {"do": "put", "keys": list(items)}
        return self._refusals(list(items), await self._ask(asked, list(items.values())))

    async def put_begun(self, key: str, content: bytes) -> asyncio.Task[None]:
        """A put under way: its task, when the client is about to call the store."""
        began = asyncio.Event()
        task = asyncio.create_task(self._put(key, content, began))
        waiting = asyncio.create_task(began.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return task

    async def get(self, key: str) -> bytes | None:
        """An object's content; None for a miss, for whatever reason the store has."""
        return (await self.get_many([key]))[key]

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes | None]:
        """Objects with one call."""
        frame = await self._ask({"do": "get", "keys": list(keys)})
        refused = self._refusals(keys, frame)
        return {
            key: None if key in refused else content for key, content in zip(keys, frame.blobs, strict=True)
        }

    async def exists(self, key: str) -> bool:
        """Whether a complete object is there. That it is leases it, where the store has leases."""
        return (await self.exists_many([key]))[key]

    async def exists_many(self, keys: Sequence[str]) -> dict[str, bool]:
        """`exists` with one call. Raises StoreRefused when it cannot be told."""
        frame = await self._ask({"do": "exists", "keys": list(keys)})
        told = frame.head["result"]
        self._enforce("asked for", _refusals(keys, [one if isinstance(one, list) else None for one in told]))
        return dict(zip(keys, told, strict=True))

    async def remove(self, key: str) -> None:
        """Forget an object."""
        self._enforce("removed", await self.remove_many([key]))

    async def remove_many(self, keys: Sequence[str]) -> dict[str, Refusal]:
        """Forget objects with one call; what was refused, by key."""
        return self._refusals(keys, await self._ask({"do": "remove", "keys": list(keys)}))

    async def put_layers(self, key: str, layers: Sequence[bytes]) -> None:
        """Store an object from its layers, in one call."""
        self._one("put layers of", key, await self._ask({"do": "put_layers", "key": key}, layers))

    async def begin_layers(self, key: str, sizes: Sequence[int]) -> None:
        """Begin an object whose layers come one by one."""
        self._one("began", key, await self._ask({"do": "begin", "key": key, "sizes": list(sizes)}))

    async def put_layer(self, key: str, layer: int, content: bytes) -> None:
        """One layer, from 0."""
        self._one(
            "put a layer of", key, await self._ask({"do": "write", "key": key, "layer": layer}, [content])
        )

    async def finish_layers(self, key: str) -> None:
        """All layers are in: the object is there now."""
        self._one("finished", key, await self._ask({"do": "finish", "key": key}))

    async def get_layers(self, key: str, sizes: Sequence[int]) -> list[bytes] | None:
        """An object in its layers; None for a miss."""
        frame = await self._ask({"do": "get_layers", "key": key, "sizes": list(sizes)})
        return None if self._refusals([key], frame) else list(frame.blobs)

    async def kill(self) -> None:
        """SIGKILL: it dies as it stands, whatever it was doing."""
        self._over = True
        await self._agent.kill()

    def stall(self) -> None:
        """SIGSTOP: it lives and does not answer anybody."""
        self._agent.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it goes on."""
        self._agent.signal(signal.SIGCONT)

    async def close(self) -> None:
        """Say goodbye to the store, which takes its memory out of the pool. Safe to call twice."""
        if self._over:
            return
        self._over = True
        self.resume()
        # In the middle of something there is no goodbye.
        await (self._agent.kill() if self._turn.locked() else self._agent.close())

    async def _put(self, key: str, content: bytes, began: asyncio.Event) -> None:
        self._one("put", key, await self._ask({"do": "put", "keys": [key]}, [content], began))

    async def _ask(
        self, head: Mapping[str, Any], blobs: Sequence[bytes] = (), began: asyncio.Event | None = None
    ) -> Frame:
        async with self._turn:
            asked = head.get("key") or ", ".join(map(repr, head["keys"][:3]))
            return await self._wait(
                self._exchange(head, blobs, began or asyncio.Event()),
                self._timeout_s,
                f"to {head['do']} {asked}",
            )

    async def _exchange(self, head: Mapping[str, Any], blobs: Sequence[bytes], began: asyncio.Event) -> Frame:
        await self._agent.send(head, blobs)
        await self._agent.receive()
        began.set()
        return await self._agent.receive()

    async def _wait(self, work: Any, timeout_s: float, doing: str) -> Frame:
        try:
            async with asyncio.timeout(timeout_s):
                frame: Frame = await work
        except asyncio.CancelledError:
            await self.kill()  # an answer that came late would be taken for the next one's
            raise
        except TimeoutError as error:
            await self.kill()
            raise StoreClientSilent(
                f"{self.name} took more than {timeout_s:g} s {doing}; it was ended",
                seen=self._agent.last_words(),
                where=str(self._agent.log),
            ) from error
        return frame

    def _refusals(self, keys: Sequence[str], frame: Frame) -> dict[str, Refusal]:
        return _refusals(keys, frame.head["result"])

    def _one(self, did: str, key: str, frame: Frame) -> None:
        self._enforce(did, self._refusals([key], frame))

    def _enforce(self, did: str, refusals: Mapping[str, Refusal]) -> None:
        for refusal in refusals.values():
            raise StoreRefused(self.name, did, refusal)


def _refusals(keys: Sequence[str], told: Sequence[Any]) -> dict[str, Refusal]:
    return {
        key: Refusal(key=key, kind=Kind(one[0]), code=one[1], text=one[2])
        for key, one in zip(keys, told, strict=True)
        if one is not None
    }
