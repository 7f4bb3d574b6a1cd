"""`python -m pdtest.embedded.engine`."""

from __future__ import annotations

import os

# numpy and its BLAS read these when they are imported. The matrices are small: more threads would cost more
# than they help, and take the cores of other members. With huge pages the first token of each layer's KV
# would take 2 MiB of memory.
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMPY_MADVISE_HUGEPAGE": "0",
}

import asyncio
import logging
import socket
import sys

import uvloop

from pdtest.embedded.engine import arguments
from pdtest.embedded.engine.api.app import application
from pdtest.embedded.engine.cores import Cores
from pdtest.embedded.engine.server import PortTaken, Server, bound
from pdtest.embedded.engine.settings import Settings
from pdtest.embedded.engine.statistics_log import log_statistics
from pdtest.embedded.model.config import ModelConfig

_log = logging.getLogger("pdtest.embedded.engine")


def main() -> int:
    """The exit code: 0 after SIGTERM or SIGINT, 1 when the engine cannot start."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    try:
        settings = arguments.read(sys.argv[1:])
        with bound(settings.host, settings.port) as listener:
            uvloop.run(_serve(settings, listener))
    except (ValueError, OSError, PortTaken) as problem:
        _log.error("cannot start: %s", problem)
        return 1
    return 0


async def _serve(settings: Settings, listener: socket.socket) -> None:
    """Until the process is told to end. Raises what keeps the engine from starting."""
    cores = Cores(settings, ModelConfig.read(settings.model))
    _log.info(
        "model loaded: %s, %d blocks of %d tokens", settings.model, settings.blocks, settings.block_size
    )
    await cores.start()
    lines = _statistics_lines(cores, settings)
    try:
        await Server(application(cores, settings), cores.abort_all).serve(sockets=[listener])
    finally:
        if lines is not None:
            lines.cancel()
        await cores.close()
    _log.info("ended")


def _statistics_lines(cores: Cores, settings: Settings) -> asyncio.Task[None] | None:
    if settings.log_statistics_s is None:
        return None
    ranks = [core.statistics for core in cores]
    return asyncio.create_task(log_statistics(ranks, settings.log_statistics_s))


if __name__ == "__main__":
    sys.exit(main())
