"""A client of a store, driven over stdin and stdout: ``python agent.py BACKEND.py SEGMENT_BYTES SETTINGS``.

Imports nothing but the standard library, so that it runs with whatever interpreter has the store's package.
BACKEND.py defines ``connect(segment_bytes, settings)``, which returns an object with the methods of
`Backend`, and may import its store's package, nothing of its surroundings.

A frame is a line of JSON, then the blobs whose lengths it gives under "blobs". Asked is
``{"do": method, ...arguments}``; blobs are the last argument. The answers are ``{"began": true}`` when the
store is about to be called, then ``{"result": ...}`` or ``{"error": text}``. At the end of stdin the client
says goodbye to the store and ends.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
from typing import Any, BinaryIO, Protocol

#: Why a key was refused: kind ("absent", "present", "leased", "no room", "invalid", "lost", "unreachable",
#: "other"), the store's own code, and what it says. None: done.
Refusal = list[Any] | None


class Backend(Protocol):
    """What an agent can ask of a store. Lists answer lists, in order."""

    def put(self, keys: list[str], blobs: list[bytes]) -> list[Refusal]:
        """Store objects."""
        ...

    def get(self, keys: list[str]) -> tuple[list[Refusal], list[bytes]]:
        """Per key a refusal or None, and the content (empty where refused)."""
        ...

    def exists(self, keys: list[str]) -> list[bool | Refusal]:
        """Whether complete objects are there, or why that cannot be told."""
        ...

    def remove(self, keys: list[str]) -> list[Refusal]:
        """Forget objects."""
        ...

    def put_layers(self, key: str, blobs: list[bytes]) -> list[Refusal]:
        """Store one object from its layers, in one call."""
        ...

    def begin(self, key: str, sizes: list[int]) -> list[Refusal]:
        """Begin to store an object layer by layer."""
        ...

    def write(self, key: str, layer: int, blobs: list[bytes]) -> list[Refusal]:
        """Store one layer of it."""
        ...

    def finish(self, key: str) -> list[Refusal]:
        """All layers are in."""
        ...

    def get_layers(self, key: str, sizes: list[int]) -> tuple[list[Refusal], list[bytes]]:
        """One object into its layers: one refusal or None, and a blob for each layer."""
        ...

    def close(self) -> None:
        """Say goodbye."""
        ...


def main(backend: str, segment_bytes: str, settings: str) -> None:
    """Serve until stdin ends."""
    # Libraries print where they like; the frames have a channel of their own.
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        store = _load(backend).connect(int(segment_bytes), json.loads(settings))
    except Exception as error:  # noqa: BLE001 - whatever a store raises is an answer
        send(answers, {"error": f"{type(error).__name__}: {error}"})
        raise SystemExit(1) from None
    send(answers, {"result": "ready"})
    while (request := receive(asked)) is not None:
        answer(store, request, answers)
    store.close()


def answer(store: Backend, request: tuple[dict[str, Any], list[bytes]], answers: BinaryIO) -> None:
    """Do one thing and say what came of it."""
    arguments, blobs = request
    method = getattr(store, arguments.pop("do"))
    if blobs:
        arguments["blobs"] = blobs
    send(answers, {"began": True})
    try:
        result = method(**arguments)
    except Exception as error:  # noqa: BLE001 - whatever a store raises is an answer
        traceback.print_exc()
        send(answers, {"error": f"{type(error).__name__}: {error}"})
        return
    found, contents = result if isinstance(result, tuple) else (result, [])
    send(answers, {"result": found}, contents)


def send(stream: BinaryIO, head: dict[str, Any], blobs: list[bytes] | tuple[()] = ()) -> None:
    """Write a frame."""
    stream.write(json.dumps(head | {"blobs": [len(blob) for blob in blobs]}).encode() + b"\n")
    stream.writelines(blobs)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], list[bytes]] | None:
    """Read a frame; None at the end."""
    line = stream.readline()
    if not line:
        return None
    head = json.loads(line)
    return head, [stream.read(size) for size in head.pop("blobs")]


def _load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("backend", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    # Not the agents' own directory: their names are those of the packages they import.
    sys.path.pop(0)
    main(*sys.argv[1:])
