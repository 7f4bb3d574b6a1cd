"""Who is registered: one member per client, with a channel back to it."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from pdtest.embedded.channel import Channel, RemoteError
from pdtest.embedded.store.errors import StoreError

#: To connect back to a client that registers.
_PATIENCE_S = 5.0


class UnknownClient(StoreError):
    """Whoever asks is not registered: it was given up, or this is another life of the meta process."""


@dataclass(eq=False, kw_only=True)
class Member:
    """A registered client. ``name`` is also its segment's."""

    name: str
    host: str
    port: int
    channel: Channel
    heard_at: float


class Members:
    """Notices that a member is gone: at once when its connection breaks, else when it falls silent.

    Args:
        gone: called once for each member that left without a goodbye, with the reason.
        timeout_s: silence that is taken for death.
    """

    def __init__(self, *, gone: Callable[[Member, str], None], timeout_s: float) -> None:
        #: Differs between lives of the meta process, so that no name comes back.
        self.life = secrets.token_hex(4)
        self._gone = gone
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._members: dict[str, Member] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._checked_at = 0.0

    def __len__(self) -> int:
        return len(self._members)

    def get(self, name: str) -> Member | None:
        """None when it is gone."""
        return self._members.get(name)

    def speaking(self, name: str, now: float) -> Member:
        """The member that asks something just now. Raises UnknownClient."""
        member = self._members.get(name)
        if member is None:
            raise UnknownClient(f"client {name!r} is not registered here; register again")
        member.heard_at = now
        return member

    async def enrol(self, host: str, port: int) -> Member:
        """Connect back, tell the client its name. Raises StoreError when it cannot be reached."""
        name = f"{self.life}-{next(self._numbers)}"
        try:
            async with asyncio.timeout(_PATIENCE_S):
                channel = await Channel.connect(host, port)
                await channel.call("enrol", segment=name)
        except (OSError, RemoteError) as error:
            raise StoreError(
                f"no way back to the client's segment at {host}:{port}: {str(error) or type(error).__name__};"
                " give the client a host that others can reach"
            ) from error
        for other in list(self._members.values()):
            if (other.host, other.port) == (host, port):
                self.strike(other, "it registered anew")
        now = asyncio.get_running_loop().time()
        member = Member(name=name, host=host, port=port, channel=channel, heard_at=now)
        self._members[name] = member
        self._watchers[name] = asyncio.create_task(self._watch(member))
        return member

    def strike(self, member: Member, reason: str | None = None) -> None:
        """Take it off the list; ``reason`` when it did not ask for that."""
        if self._members.pop(member.name, None) is None:
            return
        self._watchers[member.name].add_done_callback(lambda _: self._watchers.pop(member.name))
        member.channel.hang_up()
        if reason is not None:
            self._gone(member, reason)

    def strike_silent(self, now: float) -> None:
        """Those not heard of for too long. Call this regularly.

        When the call itself comes late, this process was stopped and nobody else is to blame.
        """
        late = now - self._checked_at > self._timeout_s / 2
        self._checked_at = now
        for member in list(self._members.values()):
            if late:
                member.heard_at = now
            elif now - member.heard_at > self._timeout_s:
                self.strike(member, f"silent for {now - member.heard_at:.1f} s")

    async def close(self) -> None:
        """Hang up on everybody."""
        for member in list(self._members.values()):
            self.strike(member)
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)

    async def _watch(self, member: Member) -> None:
        await member.channel.wait_closed()
        self.strike(member, "its connection broke")
