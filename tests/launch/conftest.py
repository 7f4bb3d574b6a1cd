from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pdtest.environment.schema import Host
from pdtest.launch.far import FarHost
from pdtest.launch.kin import OWNER_VARIABLE, Kin
from pdtest.launch.ssh import SshLauncher
from pdtest.services.service import Command
from tests.launch.sshd import servers

__all__ = ["servers"]

Reach = Callable[..., Awaitable[FarHost]]


def until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


@pytest.fixture
def owner() -> Iterator[str]:
    """A run's token. Whatever a test leaves behind under it is ended."""
    token = f"test-{uuid.uuid4().hex}"
    yield token
    for process in Kin({OWNER_VARIABLE: token}).scan():
        os.kill(process.pid, signal.SIGKILL)


@contextmanager
def sleeper(owner: str | None = None, *, close_fds: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, tagged when there is an ``owner``. Gone afterwards."""
    env = dict(os.environ) | ({OWNER_VARIABLE: owner} if owner else {})
    program = [sys.executable, "-S", "-E", "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(program, env=env, start_new_session=True, close_fds=close_fds) as process:
        try:
            # Popen returns as the new program is being loaded: for a moment it has no environment yet.
            until(Path(f"/proc/{process.pid}/environ").read_bytes, "an environment")
            yield process
        finally:
            process.kill()


def python(program: str, owner: str, **more: Any) -> Command:
    """A command that runs a piece of Python, quick to start."""
    env = {OWNER_VARIABLE: owner} | more.pop("env", {})
    return Command(argv=(sys.executable, "-S", "-E", "-u", "-c", program), env=env, **more)


@pytest.fixture
async def reach(owner: str) -> AsyncIterator[Reach]:
    """Reaches hosts, and leaves them after the test."""
    async with AsyncExitStack() as stack:

        async def one(host: Host, name: str = "a") -> FarHost:
            outpost = await SshLauncher().reach(name, host, owner=owner)
            stack.push_async_callback(outpost.leave)
            return outpost

        yield one
