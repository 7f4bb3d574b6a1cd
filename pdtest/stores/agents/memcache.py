"""memcache's store behind an agent (memcache_hybrid 1.3.0, `DistributedObjectStore`). Ascend nodes only.

Written from the package's own signatures and Ascend/memcache's doc/memcache_python_api.md; it has not been
run: `init` needs an NPU, or a RoCE card for a pool of DRAM. Codes are those of
src/memcache/csrc/common/mmc_types.h. The package reads its settings from the file that MMC_LOCAL_CONFIG_PATH
names; there the sizes of the pool are, so that ``segment_bytes`` of 0 only means to take no part in it.
"""

from __future__ import annotations

import ctypes
from typing import Any

_KINDS = {
    -3000: "invalid",  # MMC_INVALID_PARAM
    -3001: "no room",  # MMC_MALLOC_FAILED
    -3004: "unreachable",  # MMC_TIMEOUT
    -3006: "present",  # MMC_DUPLICATED_OBJECT
    -3007: "absent",  # MMC_OBJECT_NOT_EXISTS
    -3013: "no room",  # MMC_EXCEED_CAPACITY
    -3014: "unreachable",  # MMC_LINK_NOT_FOUND
    -3016: "no room",  # MMC_NOT_ENOUGH_MEMORY
    -3017: "unreachable",  # MMC_NOT_CONNET_META
    -3018: "lost",  # MMC_NOT_CONNET_LOCAL
    -3101: "absent",  # MMC_UNMATCHED_STATE: on its way in or out
    -3102: "absent",  # MMC_UNMATCHED_KEY
    -3104: "leased",  # MMC_LEASE_NOT_EXPIRED
}
#: Copies between host memory and the pool (memcache_hybrid: BmCopyType).
_H2G, _G2H = 3, 2


def connect(segment_bytes: int, settings: dict[str, Any]) -> MemcacheBackend:
    """A client. Raises RuntimeError when the package refuses."""
    return MemcacheBackend(segment_bytes, **settings)


class MemcacheBackend:
    """See `pdtest.stores.agents.agent.Backend`."""

    def __init__(self, segment_bytes: int, device: int = 0) -> None:
        from memcache_hybrid import DistributedObjectStore

        self._store = DistributedObjectStore()
        # A client without the pool's memory cannot move data ("does not support reads and writes").
        code = self._store.init(device, init_bm=True)
        if code != 0:
            raise RuntimeError(f"init({device}): code {code}; {segment_bytes} bytes asked for, see above")

    def put(self, keys: list[str], blobs: list[bytes]) -> list[Any]:
        """Each from a buffer of its own: `put_batch` says one code for all."""
        if len(keys) == 1:
            return [_refusal(self._store.put(keys[0], blobs[0]))]
        buffers = [ctypes.create_string_buffer(blob, len(blob)) for blob in blobs]
        pointers = [ctypes.addressof(buffer) for buffer in buffers]
        codes = self._store.batch_put_from(keys, pointers, [len(blob) for blob in blobs], _H2G)
        return [_refusal(code) for code in codes]

    def get(self, keys: list[str]) -> tuple[list[Any], list[bytes]]:
        """No bytes are a miss for whatever reason."""
        contents = [self._store.get(keys[0])] if len(keys) == 1 else self._store.get_batch(keys)
        return [None if content else ["absent", 0, "no bytes"] for content in contents], contents

    def exists(self, keys: list[str]) -> list[Any]:
        """Beside yes and no there are codes."""
        codes = self._store.batch_is_exist(keys)
        return [bool(code) if code in {0, 1} else _refusal(code) for code in codes]

    def remove(self, keys: list[str]) -> list[Any]:
        """Refused while a lease runs."""
        codes = [self._store.remove(keys[0])] if len(keys) == 1 else self._store.remove_batch(keys)
        return [_refusal(code) for code in codes]

    def put_layers(self, key: str, blobs: list[bytes]) -> list[Any]:
        """As vllm-ascend's AscendStoreConnector does, here from host memory."""
        buffers = [ctypes.create_string_buffer(blob, len(blob)) for blob in blobs]
        pointers = [ctypes.addressof(buffer) for buffer in buffers]
        sizes = [len(blob) for blob in blobs]
        return [
            _refusal(code) for code in self._store.batch_put_from_layers([key], [pointers], [sizes], _H2G)
        ]

    def begin(self, key: str, sizes: list[int]) -> list[Any]:
        """An object's layers come in one call here."""
        raise NotImplementedError(f"{key}: memcache takes all {len(sizes)} layers at once")

    def write(self, key: str, layer: int, blobs: list[bytes]) -> list[Any]:
        """As `begin`."""
        raise NotImplementedError(f"{key}: layer {layer} of {len(blobs)} apart")

    def finish(self, key: str) -> list[Any]:
        """As `begin`."""
        raise NotImplementedError(key)

    def get_layers(self, key: str, sizes: list[int]) -> tuple[list[Any], list[bytes]]:
        """Into one buffer per layer."""
        buffers = [ctypes.create_string_buffer(size) for size in sizes]
        pointers = [ctypes.addressof(buffer) for buffer in buffers]
        refusal = _refusal(self._store.batch_get_into_layers([key], [pointers], [sizes], _G2H)[0])
        return [refusal], [] if refusal else [buffer.raw for buffer in buffers]

    def close(self) -> None:
        """Takes this process's memory out of the pool."""
        self._store.close()


def _refusal(code: int) -> list[Any] | None:
    return None if code == 0 else [_KINDS.get(code, "other"), code, "see mmc_types.h"]
