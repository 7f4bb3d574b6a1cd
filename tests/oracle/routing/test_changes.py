from __future__ import annotations

import pytest

from pdtest.environment.schema import Role
from pdtest.oracle.routing.changes import gone_findings, used_findings
from pdtest.oracle.verdict import Ruling

from .made import routed, traffic


@pytest.mark.parametrize(
    ("sent_s", "ruling"), [(10.5, Ruling.PASS), (12.0, Ruling.PASS), (12.5, Ruling.FAIL)]
)
def test_an_instance_is_used_in_time(sent_s: float, ruling: Ruling) -> None:
    sent = traffic(routed(decode="d1", sent_s=10.1), routed(decode="d3", sent_s=sent_s))
    assert used_findings(sent, Role.DECODE, "d3", 10.0, 2.0).ruling is ruling


def test_one_that_is_never_used_fails() -> None:
    found = used_findings(traffic(routed(sent_s=9), routed(sent_s=11)), Role.DECODE, "d3", 10.0, 2.0)
    assert found.ruling is Ruling.FAIL
    assert found.text == "d3 served none of 1 requests after it was added"


def test_what_was_sent_before_the_declared_time_is_over_does_not_count() -> None:
    early = routed(decode="d2", sent_s=11.9)
    assert gone_findings(traffic(early), Role.DECODE, "d2", 10.0, 2.0).ruling is Ruling.INCONCLUSIVE
    fine = traffic(early, routed(decode="d1", sent_s=12.1))
    assert gone_findings(fine, Role.DECODE, "d2", 10.0, 2.0).ruling is Ruling.PASS
    late = traffic(early, routed(decode="d2", sent_s=12.1))
    assert gone_findings(late, Role.DECODE, "d2", 10.0, 2.0).ruling is Ruling.FAIL


def test_a_decode_instance_that_does_all_of_it_is_seen_by_its_answer() -> None:
    alone = traffic(routed(prefill="h2", decode="h2", sent_s=13))
    assert gone_findings(alone, Role.HYBRID, "h2", 10.0, 2.0).ruling is Ruling.FAIL
