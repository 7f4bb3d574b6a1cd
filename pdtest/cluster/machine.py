"""What this machine is and has."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pdtest.environment.schema import DeviceKind

DEVICES: Final = Path("/dev")
#: What the drivers call the nodes of their chips: /dev/nvidia0, /dev/davinci0.
NODES: Final[Mapping[DeviceKind, str]] = {DeviceKind.CUDA: "nvidia", DeviceKind.ASCEND: "davinci"}


def is_here(address: str) -> bool:
    """True for an address that programs on this machine can listen on."""
    try:
        places = socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    return any(_can_listen(family, place) for family, _, _, _, place in places)


def devices(kind: DeviceKind, directory: Path = DEVICES) -> tuple[int, ...]:
    """Numbers of the chips that have a node under /dev."""
    pattern = re.compile(rf"{NODES[kind]}(\d+)")
    found = (pattern.fullmatch(node.name) for node in directory.iterdir())
    return tuple(sorted(int(match[1]) for match in found if match))


def _can_listen(family: int, place: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(place)
    except OSError:
        return False
    return True
