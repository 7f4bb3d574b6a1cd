"""What can go wrong with the store."""

from __future__ import annotations

from collections.abc import Sequence


class StoreError(Exception):
    """The store could not do what was asked."""


class StoreUnreachable(StoreError):
    """The meta process does not answer. The next call tries to connect again."""


class DoesNotFit(StoreError):
    """There is no room for an object, even after evicting all that may be evicted.

    ``keys``: the objects that were left out. In a batch the others are stored.
    """

    def __init__(self, message: str, *, keys: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.keys = tuple(keys)
