"""How many handoffs really transferred their KV: told from parameters and counters, not from status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pdtest.client.handoff import Handoff
from pdtest.oracle.evidence import Window, total
from pdtest.wire.contract import Contract


@dataclass(frozen=True, kw_only=True)
class KvTransfer:
    """A transfer is due for each handoff whose prefill leg was answered.

    ``handed_over``: of those, the ones whose parameters were as the contract has them and went to decode.
    ``moved`` and ``demanded`` are tokens that decode had from outside, and that the prompts make;
    ``bytes_share`` the same of bytes, None where the connector does not count them or a block's size is not
    known. ``failures`` is by how much the connector's failure counters rose. ``gap``: why ``moved`` is None.

    Others' requests raise the counters too: on a deployment that is not ours alone ``moved`` shows too much.
    """

    due: int
    handed_over: int
    demanded: int
    moved: float | None
    bytes_share: float | None
    failures: float
    gap: str | None = None

    @property
    def rate(self) -> float | None:
        """The share that succeeded, by the worst of all witnesses; None where the counters say nothing."""
        if not self.due:
            return 0.0
        if self.moved is None:
            return None
        shares = [
            self.handed_over / self.due,
            self.moved / self.demanded if self.demanded else 1.0,
            1 - self.failures / self.due,
        ]
        if self.bytes_share is not None:
            shares.append(self.bytes_share)
        return max(0.0, min(1.0, *shares))


def kv_transfer(
    contract: Contract,
    handoffs: Sequence[Handoff],
    window: Window,
    *,
    block_size: int,
    block_bytes: int | None,
) -> KvTransfer:
    """What ``window`` and the handoffs' messages tell. Prompts are token ids that no cache knows."""
    due = [handoff for handoff in handoffs if handoff.prefill is not None and handoff.prefill.answer]
    demand = total(
        [contract.demand(handoff.request.prompt_tokens or 0, block_size=block_size) for handoff in due]
    )
    evidence = contract.evidence
    moved_bytes = None if evidence.moved is None else window.rise(evidence.moved)
    demanded_bytes = demand.blocks * (block_bytes or 0)
    return KvTransfer(
        due=len(due),
        handed_over=sum(_handed_over(contract, handoff) for handoff in due),
        demanded=demand.transferred,
        moved=window.rise(evidence.tokens.transferred),
        bytes_share=moved_bytes / demanded_bytes if moved_bytes is not None and demanded_bytes else None,
        failures=sum(window.rise(counter) or 0.0 for counter in evidence.failures),
        gap=window.gap(evidence.tokens.transferred),
    )


def _handed_over(contract: Contract, handoff: Handoff) -> bool:
    if handoff.breaches or handoff.decode is None:
        return False
    return not contract.carries_params or handoff.decode.sent is not None
