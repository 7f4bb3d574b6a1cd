"""The same for the same."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from pdtest.embedded.proxy.policies.round_robin import RoundRobin

if TYPE_CHECKING:
    from pdtest.embedded.proxy.instances import Instance
    from pdtest.embedded.proxy.request import ClientRequest

#: Of a prompt, so many blocks at its beginning count.
_BLOCKS = 4


class ConsistentHash(RoundRobin):
    """By the request's session, or else by the beginning of its prompt.

    The instance whose address gives the highest hash with it (rendezvous hashing): where instances come and
    go, only what they get and got moves.
    """

    def choose(self, candidates: Sequence[Instance], request: ClientRequest) -> Instance:
        """By hash."""
        key = _key(request).encode(errors="surrogatepass")
        return max(candidates, key=lambda one: blake2b(key + one.address.encode(), digest_size=8).digest())


def _key(request: ClientRequest) -> str:
    if request.session is not None:
        return f"session {request.session} "
    blocks = request.blocks[:_BLOCKS]
    return f"prompt {blocks[-1] if blocks else request.body.get('prompt', request.body.get('messages'))} "
