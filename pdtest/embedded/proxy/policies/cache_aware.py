"""Where the beginning of the prompt was computed before."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pdtest.embedded.proxy.policies.round_robin import RoundRobin

if TYPE_CHECKING:
    from pdtest.embedded.proxy.instances import Instance
    from pdtest.embedded.proxy.request import ClientRequest

#: More of a prompt than this must be known. This and the next two are vllm-router's (0.1.17, --help).
_LEAST_SHARE = 0.3
#: It is out of balance where somebody has so many more requests in flight than another ...
_UNEVEN_BY = 64
#: ... and so many times as many.
_UNEVEN_TIMES = 1.5
#: Blocks that are remembered: at some 200 bytes each.
_MOST_BLOCKS = 1 << 16


class CacheAware(RoundRobin):
    """The one that was sent the longest part of the prompt before.

    Where that is less than 30 % of it, or the load is out of balance, the one with the fewest requests in
    flight; among equals, the one of which the fewest blocks are remembered.
    """

    def __init__(self, most_blocks: int = _MOST_BLOCKS) -> None:
        self._most_blocks = most_blocks
        #: Block -> who was sent it; the least recently used first.
        self._holders: OrderedDict[int, set[Instance]] = OrderedDict()
        self._held: Counter[Instance] = Counter()

    def choose(self, candidates: Sequence[Instance], request: ClientRequest) -> Instance:
        """By what is remembered; this prompt is remembered, too."""
        among: Collection[Instance] = candidates
        if not _is_uneven(candidates):
            among = self._knowing(candidates, request.blocks) or candidates
        chosen = min(among, key=self.key)
        self._remember(chosen, request.blocks)
        return chosen

    def key(self, instance: Instance) -> tuple[int, ...]:
        """Requests in flight, then blocks, then turns."""
        return (instance.in_flight, self._held[instance], instance.turn)

    def gone(self, instance: Instance) -> None:
        """What it had is lost."""
        for holders in self._holders.values():
            holders.discard(instance)
        del self._held[instance]

    def _knowing(self, candidates: Sequence[Instance], blocks: Sequence[int]) -> Collection[Instance]:
        """Those that know the longest part of the prompt, if it is long enough."""
        knowing, known = set(candidates), 0
        for block in blocks:
            still = knowing & self._holders.get(block, set())
            if not still:
                break
            knowing, known = still, known + 1
        return knowing if known > _LEAST_SHARE * len(blocks) else ()

    def _remember(self, chosen: Instance, blocks: Sequence[int]) -> None:
        for block in reversed(blocks):  # so that beginnings outlive what follows them
            holders = self._holders.setdefault(block, set())
            self._holders.move_to_end(block)
            self._held[chosen] += chosen not in holders
            holders.add(chosen)
        while len(self._holders) > self._most_blocks:
            _, holders = self._holders.popitem(last=False)
            self._held.subtract(holders)


def _is_uneven(candidates: Sequence[Instance]) -> bool:
    loads = [one.in_flight for one in candidates]
    least, most = min(loads), max(loads)
    return most - least > _UNEVEN_BY and most > _UNEVEN_TIMES * least
