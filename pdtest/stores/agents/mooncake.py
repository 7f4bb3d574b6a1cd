"""Mooncake's store behind an agent (mooncake-transfer-engine 0.3.13, mooncake/store.so).

Codes are those of mooncake-store/include/types.h (ErrorCode). Memory that layers are copied from and to must
be registered with the client. A whole value goes through the client's own buffer (``buffer_bytes``), so that
none larger than that can be put or got.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from typing import Any, Self

_KINDS = {
    -200: "no room",  # NO_AVAILABLE_HANDLE
    -101: "no room",  # SEGMENT_NOT_FOUND: nobody contributes memory
    -600: "invalid",  # INVALID_PARAMS
    -703: "absent",  # REPLICA_IS_NOT_READY: on its way in
    -704: "absent",  # OBJECT_NOT_FOUND
    -705: "present",  # OBJECT_ALREADY_EXISTS
    -706: "leased",  # OBJECT_HAS_LEASE
    -707: "lost",  # LEASE_EXPIRED before the data was there
    -800: "lost",  # TRANSFER_FAIL: its memory does not answer
    -900: "unreachable",  # RPC_FAIL
    -901: "unreachable",  # RPC_TIMEOUT
    -1010: "unreachable",  # UNAVAILABLE_IN_CURRENT_STATUS
}


def connect(segment_bytes: int, settings: dict[str, Any]) -> MooncakeBackend:
    """A client that contributes ``segment_bytes``. Raises RuntimeError when it is not taken."""
    return MooncakeBackend(segment_bytes, **settings)


class MooncakeBackend:
    """See `pdtest.stores.agents.agent.Backend`."""

    def __init__(  # noqa: PLR0913, PLR0917 - the settings by name
        self, segment_bytes: int, host: str, metadata: str, master: str, protocol: str, buffer_bytes: int
    ) -> None:
        from mooncake.store import MooncakeDistributedStore

        self._store = MooncakeDistributedStore()
        # Memory is mounted apart, so that it can be taken away at once (`close`).
        code = self._store.setup(host, metadata, 0, buffer_bytes, protocol, "", master)
        if code != 0:
            raise RuntimeError(f"setup: code {code}; master {master}, metadata {metadata}, see above")
        self._segments: list[str] = []
        if segment_bytes:
            mounted = self._store.allocate_and_mount_segment(segment_bytes, protocol)
            if mounted["ret"] != 0:
                raise RuntimeError(f"allocate_and_mount_segment({segment_bytes}): code {mounted['ret']}")
            self._segments = mounted["segment_ids"]
        self._begun: dict[str, list[int]] = {}

    def put(self, keys: list[str], blobs: list[bytes]) -> list[Any]:
        """One call for one key; `put_batch` says one code for all, so several go through buffers."""
        if len(keys) == 1:
            return [_refusal(self._store.put(keys[0], blobs[0]))]
        with _Memory(self._store, blobs) as memory:
            codes = self._store.batch_put_from(keys, memory.addresses, memory.sizes)
        return [_refusal(code) for code in codes]

    def get(self, keys: list[str]) -> tuple[list[Any], list[bytes]]:
        """`get` gives no code: no bytes are a miss for whatever reason."""
        contents = [self._store.get(keys[0])] if len(keys) == 1 else self._store.get_batch(keys)
        return [None if content else ["absent", 0, "no bytes"] for content in contents], contents

    def exists(self, keys: list[str]) -> list[Any]:
        """Beside yes and no there are codes."""
        codes = [self._store.is_exist(keys[0])] if len(keys) == 1 else self._store.batch_is_exist(keys)
        return [bool(code) if code in {0, 1} else _refusal(code) for code in codes]

    def remove(self, keys: list[str]) -> list[Any]:
        """Refused while a lease runs."""
        codes = [self._store.remove(keys[0])] if len(keys) == 1 else self._store.batch_remove(keys)
        return [_refusal(code) for code in codes]

    def put_layers(self, key: str, blobs: list[bytes]) -> list[Any]:
        """As vLLM's MooncakeStoreConnector puts a block: from one buffer per layer."""
        with _Memory(self._store, blobs) as memory:
            codes = self._store.batch_put_from_multi_buffers([key], [memory.addresses], [memory.sizes])
        return [_refusal(code) for code in codes]

    def begin(self, key: str, sizes: list[int]) -> list[Any]:
        """PutStart: the space is allocated, nothing is written yet."""
        self._begun[key] = sizes
        return [_refusal(code) for code in self._store.batch_put_session_start([key], [sum(sizes)])]

    def write(self, key: str, layer: int, blobs: list[bytes]) -> list[Any]:
        """Into the space that `begin` got."""
        offset = sum(self._begun[key][:layer])
        with _Memory(self._store, blobs) as memory:
            codes = self._store.batch_put_from_multi_buffer_ranges(
                [key], [memory.addresses], [memory.sizes], [[offset]]
            )
        return [_refusal(code) for code in codes]

    def finish(self, key: str) -> list[Any]:
        """PutEnd."""
        del self._begun[key]
        return [_refusal(code) for code in self._store.batch_put_session_end([key])]

    def get_layers(self, key: str, sizes: list[int]) -> tuple[list[Any], list[bytes]]:
        """Into one buffer per layer."""
        with _Memory(self._store, [bytes(size) for size in sizes]) as memory:
            codes = self._store.batch_get_into_multi_buffers([key], [memory.addresses], [memory.sizes])
            refusal = _refusal(codes[0])
            return [refusal], [] if refusal else memory.contents()

    def close(self) -> None:
        """Takes the memory out of the pool, which is a client's goodbye.

        The rest of a client's end waits for its heartbeat's thread, one to two seconds for nothing.
        """
        self._store.unmount_and_free_segment(self._segments, 0)
        os._exit(0)


class _Memory:
    """Buffers side by side, registered with the client while it uses them."""

    def __init__(self, store: Any, blobs: Iterable[bytes]) -> None:
        joined = b"".join(contents := list(blobs))
        self.sizes = [len(content) for content in contents]
        self._store = store
        self._buffer = ctypes.create_string_buffer(joined, max(len(joined), 1))
        first = ctypes.addressof(self._buffer)
        self.addresses = [first + sum(self.sizes[:index]) for index in range(len(self.sizes))]

    def __enter__(self) -> Self:
        code = self._store.register_buffer(self.addresses[0], len(self._buffer))
        if code != 0:
            raise RuntimeError(f"register_buffer of {len(self._buffer)} bytes: code {code}")
        return self

    def __exit__(self, *_: object) -> None:
        self._store.unregister_buffer(self.addresses[0])

    def contents(self) -> list[bytes]:
        """What is in the buffers now."""
        first = self.addresses[0]
        return [
            self._buffer.raw[address - first : address - first + size]
            for address, size in zip(self.addresses, self.sizes, strict=True)
        ]


def _refusal(code: int) -> list[Any] | None:
    """Zero is done; buffers answer the bytes that were moved."""
    return None if code >= 0 else [_KINDS.get(code, "other"), code, "see types.h, ErrorCode"]
