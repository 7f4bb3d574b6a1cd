"""Stores and clients in processes of their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from pdtest.embedded.store.client import StoreClient
from pdtest.embedded.store.errors import StoreUnreachable
from pdtest.embedded.store.meta import MetaService
from tests.ports import free_ports

PATIENCE_S = 60.0

StartMeta = Callable[..., Awaitable[MetaService]]
Connect = Callable[..., Awaitable[StoreClient]]


class Process:
    """A meta process of its own."""

    def __init__(self, *flags: str) -> None:
        self.port, self.http_port = free_ports(2)
        self._flags = flags
        self.start()

    def start(self) -> None:
        """On the same ports as before."""
        command = [sys.executable, "-m", "pdtest.embedded.store", "--port", str(self.port)]
        self.popen = subprocess.Popen([*command, "--http-port", str(self.http_port), *self._flags])

    def wait_ready(self) -> None:
        """Until HTTP answers."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.get("/health")
            except OSError:
                assert time.monotonic() < deadline, "the store does not come up"
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=30) as answer:
            return str(answer.read().decode())


@contextmanager
def running(*flags: str) -> Iterator[Process]:
    """A meta process that answers."""
    process = Process(*flags)
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()


@contextmanager
def python(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs ``code``, talked to over its standard input and output."""
    command = [sys.executable, "-u", "-c", code, *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as popen:
        try:
            yield popen
        finally:
            popen.kill()


async def eventually(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until it holds; a store that is away meanwhile is none of the condition's business."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            held = condition()
            if held if isinstance(held, bool) else await held:
                return
        except StoreUnreachable:
            pass
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.02)
