"""What a load is sent with. Each of `protocol.py` and `tls.py` implements `LoadClient`."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from pdtest.load.answer import Answer


class Line(Protocol):
    """A connection to a server that nobody else uses."""

    async def post(self, path: str, headers: bytes, body: bytes, answer: Answer) -> None:
        """Send and wait for the whole of the answer, which fills ``answer``. Raises nothing of the network.

        ``headers`` as lines with CRLF. A cancellation closes the connection, as a client that walks away.
        """
        ...


class LoadClient(Protocol):
    """Talks to one server."""

    async def __aenter__(self) -> Self:
        """Begins."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes all connections."""
        ...

    async def line(self) -> Line:
        """One that is idle, or a new one: taken before it is needed, so that no request waits for it.

        Raises OSError where there is no connection to be had.
        """
        ...
