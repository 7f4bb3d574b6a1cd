"""Where decode reports its blocks, when decode goes first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pdtest.embedded.proxy.errors import Failure


class Meeting:
    """A request whose prefill waits for decode's report. ``leg`` is the task that then sends it."""

    def __init__(self) -> None:
        self.reported: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self.leg: asyncio.Task[Any] | None = None

    def report(self, params: Mapping[str, Any]) -> None:
        """Decode's blocks. Said again, as decode does when its connection broke, nothing changes."""
        if not self.reported.done():
            self.reported.set_result(params)

    def close(self) -> None:
        """Decode needs no prefill any more."""
        self.reported.cancel()


class Metaserver:
    """Meetings by the client's request id.

    Decode names the request as its engine does: ``cmpl-<id>-<prompt>`` or ``chatcmpl-<id>``, in some
    versions with more behind it.
    """

    def __init__(self) -> None:
        self._meetings: dict[str, Meeting] = {}

    def expect(self, request_id: str) -> Meeting:
        """A meeting for one request. Raises Failure, 409, when one of that id is under way."""
        if request_id in self._meetings:
            raise Failure(
                HTTPStatus.CONFLICT,
                f"a request with the X-Request-Id {request_id!r} is under way, and decode's report could not "
                "be told from that one's: send another id, or none",
            )
        meeting = self._meetings[request_id] = Meeting()
        return meeting

    def forget(self, request_id: str) -> None:
        """It is over."""
        if (meeting := self._meetings.pop(request_id, None)) is not None:
            meeting.close()

    def find(self, named: str) -> Meeting | None:
        """By the name that decode gives the request."""
        name = named.removeprefix("chatcmpl-").removeprefix("cmpl-")
        while name not in self._meetings:
            name, dash, _ = name.rpartition("-")
            if not dash:
                return None
        return self._meetings[name]
