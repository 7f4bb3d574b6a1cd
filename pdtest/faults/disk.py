"""A disk that is full where a member writes its logs."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
from contextlib import suppress
from io import RawIOBase
from pathlib import Path

from pdtest.cluster.cluster import Cluster
from pdtest.faults.fault import Aftermath, Refused, Unverified
from pdtest.faults.process import processes_of

_SIZE = "256k"
_FILLER = "filler"


class FullDisk:
    """The member runs with its directory on a tiny file system that has no byte left.

    Only where such a file system can be made: as root, with the right to mount. The member is started again
    for it, and once more when the fault is lifted; what it logged is kept. Should pytest be killed meanwhile,
    the reaper unmounts it.
    """

    name = "full disk"
    aftermath = Aftermath(new_life=True)

    def __init__(self, cluster: Cluster, member: str) -> None:
        self.target = member
        self.members = frozenset({member})
        self._cluster = cluster
        self._directory = cluster.members[member].directory
        self._is_mounted = False

    async def arm(self) -> None:
        """Mount it over the member's directory, start the member there, fill it up. Raises Refused."""
        member = self._cluster.members[self.target]
        await processes_of(self._cluster, self.target, self.name)
        if member.process is None or member.process.pid is None:
            raise Refused(
                f"{self.name}: '{self.target}' runs on another machine",
                expected="a member that runs here, where a file system can be mounted",
                seen=f"launcher {member.launcher.name}",
            )
        await asyncio.to_thread(self._mount)

    async def verify(self) -> str:
        """Nothing can be written there any more, and the member writes there. Raises Unverified."""
        member = self._cluster.members[self.target]
        said = _refuses(member.log.path)
        if said is None:
            raise Unverified(f"{member.log.path} can be written to", expected=os.strerror(errno.ENOSPC))
        process = (await processes_of(self._cluster, self.target, self.name))[0]
        if not _writes_to(process.pid, member.log.path):
            raise Unverified(f"{self.target} does not write to {member.log.path}")
        return f"{member.log.path}: {said}"

    async def lift(self) -> None:
        """The directory as it was, and the member started again in it."""
        if not self._is_mounted:
            return
        await asyncio.to_thread(self._unmount)

    def _unmount(self) -> None:
        self._cluster.stop([self.target])
        log = self._cluster.members[self.target].log.path
        said = log.read_bytes()
        _run("umount", str(self._directory))
        self._is_mounted = False
        self._cluster.mounted(self._directory, there=False)
        with log.open("ab") as file:
            file.write(said.rstrip(b"\n") + b"\n")
        self._cluster.restart(self.target)

    def _mount(self) -> None:
        self._cluster.stop([self.target])
        before = [path for path in self._directory.iterdir() if path.is_file()]
        kept = {path.name: path.read_bytes() for path in before if path.stat().st_size < 1 << 16}
        self._cluster.mounted(self._directory, there=True)
        try:
            _run("mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(self._directory))
        except (OSError, subprocess.CalledProcessError) as error:
            self._cluster.mounted(self._directory, there=False)
            self._cluster.restart(self.target)
            raise Refused(
                f"{self.name}: no file system can be mounted here",
                seen=str(error),
                next_step="run as root, in a container that may mount (CAP_SYS_ADMIN)",
            ) from error
        self._is_mounted = True
        for name, content in kept.items():
            (self._directory / name).write_bytes(content)
        self._cluster.restart(self.target)
        _fill(self._directory / _FILLER)
        # The last page of the log has room yet.
        _fill(self._cluster.members[self.target].log.path)


def _fill(path: Path) -> None:
    """Blank lines, until not a byte fits any more."""
    with path.open("ab", buffering=0) as file, suppress(_Full):
        while True:
            _write(file, b"\n" * 4096)


def _refuses(path: Path) -> str | None:
    """What the system says to one more byte; None when it takes it."""
    try:
        with path.open("ab", buffering=0) as file:
            _write(file, b"\n")
    except _Full as full:
        return str(full)
    return None


def _write(file: RawIOBase, data: bytes) -> None:
    try:
        file.write(data)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _Full(error.strerror) from error
        raise


class _Full(Exception):
    pass


def _writes_to(pid: int, path: Path) -> bool:
    return any(Path(f"/proc/{pid}/fd/{number}").resolve() == path.resolve() for number in (1, 2))


def _run(*words: str) -> None:
    program = shutil.which(words[0])
    if program is None:
        raise OSError(errno.ENOENT, f"there is no {words[0]}")
    subprocess.run((program, *words[1:]), check=True, capture_output=True)  # noqa: S603 - words of ours
