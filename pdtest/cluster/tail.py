"""Reads a growing log file piece by piece."""

from __future__ import annotations

from pathlib import Path

from pdtest.cluster.log import LogMark, MemberLog, to_lines


class Tail:
    """New whole lines of one file, each given once. The file may appear later, and may rotate."""

    def __init__(self, path: Path, *, secrets: frozenset[str] = frozenset(), offset: int = 0) -> None:
        self._path = path
        self._secrets = secrets
        self._offset = offset
        self._torn = b""

    def read(self, *, last: bool = False) -> list[str]:
        """Lines completed since the call before; with ``last`` also one that never was."""
        data = self._torn + self._new_bytes()
        whole, newline, self._torn = data.rpartition(b"\n")
        if last:
            whole, newline, self._torn = data, b"", b""
        return to_lines(whole + newline, self._secrets) if whole or newline else []

    def _new_bytes(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._offset:
                    self._offset = 0
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return b""
        self._offset += len(data)
        return data


def tails(log: MemberLog, *, since: LogMark | None = None) -> tuple[Tail, ...]:
    """One for each file of ``log``, from ``since`` on, or from the beginning."""
    offsets = since.offsets if since else {}
    return tuple(Tail(path, secrets=log.secrets, offset=offsets.get(path, 0)) for path in log.paths)
