"""Planted bugs in how long KV lives, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: What --fault-lifetime knows: on prefill, then on decode.
KINDS: Final[Mapping[str, str]] = {
    "early-release": "prefill does not wait for decode: its blocks are free with its answer",
    "reused-in-flight": "the last block is another's by the time that decode reads it",
    "leaked": "blocks are never given back, on the side that has this",
    "notification-lost": "decode does not say that it has read",
    "notification-doubled": "decode says so twice",
    "late-arrival": "decode begins to compute before everything is there",
}
