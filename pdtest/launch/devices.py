"""Devices of this machine that belong to one run at a time, and what to say where they are denied."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self

from pdtest.errors import PdtestError
from pdtest.launch.claims import Claims, Denied, default_directory
from pdtest.launch.device_claims import DeviceClaims, Heir, device_name
from pdtest.launch.lease import introduced


class DeviceTaken(PdtestError):
    """Another run holds a device that a member asks for.

    ``device``: its claim's name. ``holder``: what that run has written of itself; empty: not known.
    """

    title = "device in use"

    def __init__(
        self, device: str, holder: Mapping[str, Any], *, asks: str, where: str, on: str = ""
    ) -> None:
        """``asks``: who wants it. ``where``: the directory of claims. ``on`` names another machine."""
        self.device = f"{device}{on}"
        self.holder = dict(holder)
        super().__init__(
            f"another run holds {self.device}, which {asks} asks for",
            seen=introduced(self.holder) or "it has written nothing of itself",
            where=where,
            next_step=remedy(self.holder),
        )

    @classmethod
    def of(cls, error: Denied, wanted: Mapping[int, str], *, where: str, on: str = "") -> Self:
        """From a denied claim, and who wanted which number."""
        number = int(error.name.rpartition("-")[2])
        return cls(error.name, error.holder, asks=wanted[number], where=where, on=on)


class DeviceLeases:
    """The devices that one owner (a run) holds on this machine; its reaper has a part in each."""

    #: Before all other machines, where several are asked in an order.
    place = ""

    def __init__(self, owner: str, heir: Heir, directory: Path | None = None) -> None:
        # Without filelock: the reaper gets the descriptor of the lock, which that keeps to itself.
        self._claims = Claims(owner, directory or default_directory())
        self._devices = DeviceClaims(owner, self._claims, heir)

    def hold(self, kind: str, wanted: Mapping[int, str]) -> None:
        """Lease all of ``wanted``, purposes by number, or, raising DeviceTaken, none that we had not."""
        try:
            self._devices.take({device_name(kind, device): purpose for device, purpose in wanted.items()})
        except Denied as error:
            raise DeviceTaken.of(error, wanted, where=str(self._claims.directory)) from None

    def free(self, kind: str, devices: Collection[int]) -> None:
        """Give some back."""
        self._devices.free([device_name(kind, device) for device in devices])

    def release_all(self) -> None:
        """Give every device back, once the reaper has ended. Safe to call twice."""
        self._claims.release_all()


def remedy(holder: Mapping[str, Any]) -> str:
    """What to do about one who has a device."""
    if left := holder.get("left"):
        return f"end what it left: kill {' '.join(map(str, left))}"
    return "wait for it (--cluster-wait; pdtest up --wait), end it, or give the member another device"
