from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pdtest.launch.attach import AttachLauncher
from pdtest.services.service import Command


async def test_nothing_is_started_watched_or_stopped(tmp_path: Path) -> None:
    log = tmp_path / "member" / "log"
    process = await AttachLauncher().launch(Command(argv=()), tmp_path, log=log)
    assert (process.pid, process.returncode) == (None, None)
    assert log.read_bytes() == b""
    await process.stop(grace_s=0.0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.wait(), timeout=0.01)
