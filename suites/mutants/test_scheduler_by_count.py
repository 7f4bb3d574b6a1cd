"""A scheduler that ignores KV length fails the client-orchestrated suite, by that and by nothing else.

Run on environments/embedded-ascend-client-by-count.yaml; on a healthy environment this test fails, as it
should.
"""

from __future__ import annotations

import pytest

from pdtest import Ruling
from pdtest.oracle.verdict import conclude
from pdtest.plugin.client_load import Measure


async def test_a_scheduler_that_counts_requests_is_caught(client_load: Measure) -> None:
    """Everything is answered and has its KV; only the ranks tell."""
    findings = await client_load()
    spread = findings.spread()
    if not spread:
        pytest.skip("decode has one data-parallel rank: there is nothing to spread over")
    # Times are the machine's, and no part of the claim.
    fine = [*findings.answered(), *findings.named(), *findings.transferred()]
    assert conclude("all but the spread", fine, needs_proof=False).ruling is Ruling.PASS, fine
    caught = conclude("spread", spread, needs_proof=False)
    assert caught.ruling is Ruling.FAIL, caught
    assert "look at decode" in str(caught)
