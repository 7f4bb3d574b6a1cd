from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.oracle.verdict import Finding, Ruling, conclude

findings = st.builds(
    Finding,
    check=st.sampled_from(["parity", "tokens transferred", "contract"]),
    ruling=st.sampled_from(Ruling),
    text=st.just("seen"),
    proof=st.booleans(),
)
many = st.lists(findings, max_size=6)


def finding(ruling: Ruling = Ruling.PASS, *, proof: bool = False, check: str = "parity") -> Finding:
    return Finding(check=check, ruling=ruling, text="what was seen", proof=proof)


@given(many, findings, st.booleans())
def test_one_failure_fails(others: list[Finding], one: Finding, needs_proof: bool) -> None:
    mixed = [*others, Finding(check=one.check, ruling=Ruling.FAIL, text=one.text, proof=one.proof)]
    assert conclude("claim", mixed, needs_proof=needs_proof).ruling is Ruling.FAIL


@given(many)
def test_nothing_passes_without_proof(seen: list[Finding]) -> None:
    if conclude("claim", seen).ruling is Ruling.PASS:
        assert any(one.proof and one.ruling is Ruling.PASS for one in seen)


@given(many, st.booleans())
def test_nothing_passes_while_a_question_is_open(seen: list[Finding], needs_proof: bool) -> None:
    passed = conclude("claim", seen, needs_proof=needs_proof).ruling is Ruling.PASS
    assert not passed or {one.ruling for one in seen} == {Ruling.PASS}


@given(many.flatmap(lambda seen: st.tuples(st.just(seen), st.permutations(seen))), st.booleans())
def test_the_order_of_findings_does_not_matter(
    pair: tuple[Sequence[Finding], ...], needs_proof: bool
) -> None:
    first, second = (conclude("claim", seen, needs_proof=needs_proof).ruling for seen in pair)
    assert first is second


@given(many)
def test_every_ruling_rests_on_a_finding(seen: list[Finding]) -> None:
    verdict = conclude("claim", seen)
    assert verdict.decisive
    assert set(seen) <= set(verdict.findings)


def test_proof_and_no_objection_pass() -> None:
    assert conclude("claim", [finding(), finding(proof=True)]).ruling is Ruling.PASS


def test_right_output_without_proof_says_which_proof_is_missing() -> None:
    verdict = conclude("claim", [finding()])
    assert verdict.ruling is Ruling.INCONCLUSIVE
    (missing,) = verdict.decisive
    assert "nothing proves that KV moved" in missing.text


def test_a_proof_that_is_missing_itself_proves_nothing() -> None:
    verdict = conclude("claim", [finding(), finding(Ruling.INCONCLUSIVE, proof=True)])
    assert verdict.ruling is Ruling.INCONCLUSIVE


@pytest.mark.parametrize("needs_proof", [True, False])
def test_nothing_checked_is_inconclusive(needs_proof: bool) -> None:
    assert conclude("claim", [], needs_proof=needs_proof).ruling is Ruling.INCONCLUSIVE


def test_a_claim_about_no_transfer_needs_no_proof() -> None:
    assert conclude("claim", [finding()], needs_proof=False).ruling is Ruling.PASS


def test_text_has_the_claim_and_every_finding() -> None:
    verdict = conclude("KV moved", [finding(Ruling.FAIL, check="bytes moved"), finding()])
    assert str(verdict).splitlines() == [
        "FAIL: KV moved",
        "  fail         bytes moved: what was seen",
        "  pass         parity: what was seen",
    ]
