"""Planted bugs of a router, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: What --fault-routing knows.
KINDS: Final[Mapping[str, str]] = {
    "ignore-threshold": "every prompt counts as long",
    "off-by-one": "a prompt of just the threshold does not count as long",
    "swap-sides": "what should be handed over is left to decode, and what is decode's is handed over",
    "always-first": "the first instance of a side gets everything",
    "forget-removed": "an instance that was removed is still sent requests",
    "sticks-too-long": "a session stays with its instance, however long it is silent, and if that is removed",
    "count-requests": "kv_length goes by the number of requests",
}
