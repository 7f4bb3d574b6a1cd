"""A store for the agent that is a dictionary, and that misbehaves with keys that say so."""

from __future__ import annotations

import os
import sys
import time
from typing import Any


def connect(segment_bytes: int, settings: dict[str, Any]) -> Backend:
    if settings.get("refuses"):
        raise ConnectionError("nobody there")
    print("noise on stdout")  # noqa: T201 - as libraries do; it must not disturb the frames
    return Backend(segment_bytes)


class Backend:
    def __init__(self, segment_bytes: int) -> None:
        self.segment_bytes = segment_bytes
        self.objects: dict[str, bytes] = {}

    def put(self, keys: list[str], blobs: list[bytes]) -> list[Any]:
        for key in keys:
            if key == "exit":
                sys.stderr.write("about to leave\n")
                os._exit(3)
            if key == "hang":
                time.sleep(600)
            if key == "raise":
                raise OSError("broken in here")
        self.objects |= dict(zip(keys, blobs, strict=True))
        fits = [len(blob) <= self.segment_bytes for blob in blobs]
        return [None if fit else ["no room", -200, "too large"] for fit in fits]

    def get(self, keys: list[str]) -> tuple[list[Any], list[bytes]]:
        misses = [None if key in self.objects else ["absent", 0, ""] for key in keys]
        return misses, [self.objects.get(key, b"") for key in keys]

    def exists(self, keys: list[str]) -> list[Any]:
        return [["unreachable", -900, "gone"] if key == "unknown" else key in self.objects for key in keys]

    def remove(self, keys: list[str]) -> list[Any]:
        return [None if self.objects.pop(key, None) is not None else ["absent", -704, ""] for key in keys]

    def put_layers(self, key: str, blobs: list[bytes]) -> list[Any]:
        return self.put([key], [b"".join(blobs)])

    def begin(self, key: str, sizes: list[int]) -> list[Any]:
        self.objects[f"half {key}"] = bytes(sum(sizes))
        return [None]

    def write(self, key: str, layer: int, blobs: list[bytes]) -> list[Any]:
        half, size = self.objects[f"half {key}"], len(blobs[0])
        self.objects[f"half {key}"] = half[: layer * size] + blobs[0] + half[(layer + 1) * size :]
        return [None]

    def finish(self, key: str) -> list[Any]:
        self.objects[key] = self.objects.pop(f"half {key}")
        return [None]

    def get_layers(self, key: str, sizes: list[int]) -> tuple[list[Any], list[bytes]]:
        if key not in self.objects:
            return [["absent", 0, ""]], []
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        return [None], [
            self.objects[key][start : start + size] for start, size in zip(starts, sizes, strict=True)
        ]

    def close(self) -> None:
        sys.stderr.write("goodbye\n")
