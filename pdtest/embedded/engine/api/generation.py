"""The sequences of one request, from submission to the last token or the client's leaving."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pdtest.embedded.engine.api.choice import Choice, Delta
from pdtest.embedded.engine.api.errors import ApiError
from pdtest.embedded.engine.api.ports import Core
from pdtest.embedded.engine.sequence import Finish, Step


class Disconnected(Exception):
    """The client has gone; there is nobody to answer."""


class _Lane(asyncio.Queue[Step]):
    """The steps of one choice, put where those of its siblings are, so that one reader waits for all."""

    def __init__(self, choice: Choice, mailbox: asyncio.Queue[tuple[Choice, Step] | None]) -> None:
        super().__init__()
        self._choice = choice
        self._mailbox = mailbox

    def put_nowait(self, item: Step) -> None:
        self._mailbox.put_nowait((self._choice, item))


class Generation:
    """Runs ``choices`` on ``core``. ``finished`` holds those that ended, in that order."""

    def __init__(self, core: Core, choices: Sequence[Choice]) -> None:
        self._core = core
        self.choices = choices
        self.finished: list[Choice] = []
        self._mailbox: asyncio.Queue[tuple[Choice, Step] | None] = asyncio.Queue()
        self._failure: Exception | None = None
        for choice in choices:
            choice.sequence.steps = _Lane(choice, self._mailbox)

    def submit(self) -> None:
        """Hand all sequences to the engine, without a pause between them: connectors count on that."""
        for choice in self.choices:
            self._core.submit(choice.sequence)

    def leave(self) -> None:
        """The client went away."""
        self._mailbox.put_nowait(None)

    def abort(self) -> None:
        """Give up what has not ended."""
        for choice in self.choices:
            if choice.finish is None:
                choice.finish = Finish.ABORT
                self._core.abort(choice.sequence)

    @property
    def done(self) -> bool:
        """All choices have ended."""
        return len(self.finished) == len(self.choices)

    async def deltas(self) -> list[tuple[Choice, Delta]]:
        """What came since the last call; waits until there is something.

        Raises Disconnected, and ApiError when a sequence failed, after what came before that.
        """
        found: list[tuple[Choice, Delta]] = []
        while not found:
            if self._failure is not None:
                raise self._failure
            mail = await self._mailbox.get()
            while self._sorted(mail, found) and not self._mailbox.empty():
                mail = self._mailbox.get_nowait()
        return found

    def _sorted(self, mail: tuple[Choice, Step] | None, found: list[tuple[Choice, Delta]]) -> bool:
        """Whether it goes on after this."""
        if mail is None:
            self._failure = Disconnected()
            return False
        choice, step = mail
        if choice.finish is not None:
            return True  # the engine made it before it heard of a stop string
        if step.finish is Finish.ERROR:
            choice.finish = step.finish
            self._failure = ApiError(step.error or "Internal server error", status=step.status)
            return False
        delta = choice.take(step)
        found.append((choice, delta))
        if delta.finish is not None:
            self.finished.append(choice)
            if step.finish is None:
                self._core.abort(choice.sequence, Finish.STOP)
        return True
