"""The blocks of one data-parallel rank: who uses them, and which hold a known prefix.

As in vLLM (v1/core/block_pool.py): a block that nobody uses stays in the prefix cache until its room is
needed, the longest unused first.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence


def block_hashes(tokens: Sequence[int], block_size: int, known: Sequence[bytes] = ()) -> list[bytes]:
    """One hash per whole block of ``tokens``, of all tokens up to its end.

    The same in every process. ``known``: the first ones, where they were computed before.
    """
    hashes = list(known)
    for start in range(len(hashes) * block_size, len(tokens) - block_size + 1, block_size):
        content = array("I", tokens[start : start + block_size]).tobytes()
        hashes.append(hashlib.blake2b(content, digest_size=16, key=hashes[-1] if hashes else b"").digest())
    return hashes


class Blocks:
    """Counts users of blocks; finds blocks by the hash of what they hold."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._users = [0] * count
        self._hash: list[bytes | None] = [None] * count
        self._by_hash: dict[bytes, int] = {}
        # Blocks without users, next to be taken first.
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(count))

    @property
    def free(self) -> int:
        """How many have no user, whether or not they hold a prefix."""
        return len(self._free)

    @property
    def used(self) -> int:
        """How many have one."""
        return self.count - len(self._free)

    def match(self, hashes: Iterable[bytes]) -> list[int]:
        """Blocks that hold the first of ``hashes``, as far as there are any."""
        found: list[int] = []
        for one in hashes:
            block = self._by_hash.get(one)
            if block is None:
                break
            found.append(block)
        return found

    def allocate(self, cached: Sequence[int], fresh: int, *, spare: int = 0) -> list[int] | None:
        """``cached`` blocks and ``fresh`` further ones with one more user each.

        None when there is no room, or not so much that ``spare`` blocks stay free.
        """
        idle = sum(1 for block in cached if not self._users[block])
        if fresh + spare > len(self._free) - idle:
            return None
        for block in cached:
            if not self._users[block]:
                del self._free[block]
            self._users[block] += 1
        return [*cached, *(self._take() for _ in range(fresh))]

    def release(self, blocks: Sequence[int]) -> None:
        """One user less. ``blocks`` in a sequence's order: its end is given up before its beginning.

        A block that holds no prefix is taken before all others, so that whoever still reads it is found
        out soon.
        """
        for block in reversed(blocks):
            self._users[block] -= 1
            if not self._users[block]:
                self._free[block] = None
                if self._hash[block] is None:
                    self._free.move_to_end(block, last=False)

    def enter(self, block: int, content: bytes) -> None:
        """``block`` holds what ``content`` is the hash of. Nothing changes when another one does already."""
        if self._hash[block] is None and content not in self._by_hash:
            self._hash[block] = content
            self._by_hash[content] = block

    def forget(self) -> bool:
        """Empty the prefix cache. False, and nothing done, while any block has a user."""
        if self.used:
            return False
        self._by_hash.clear()
        self._hash = [None] * self.count
        return True

    def _take(self) -> int:
        block, _ = self._free.popitem(last=False)
        content = self._hash[block]
        if content is not None:
            del self._by_hash[content]
            self._hash[block] = None
        self._users[block] = 1
        return block
