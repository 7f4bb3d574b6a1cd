from __future__ import annotations

import pytest

from pdtest.oracle.errors import Failed, Inconclusive, VerdictError, enforce
from pdtest.oracle.verdict import Finding, Ruling, conclude


def test_a_pass_comes_back() -> None:
    passed = conclude("KV moved", [Finding(check="bytes moved", ruling=Ruling.PASS, text="9", proof=True)])
    assert enforce(passed) is passed


@pytest.mark.parametrize(("ruling", "error"), [(Ruling.FAIL, Failed), (Ruling.INCONCLUSIVE, Inconclusive)])
def test_anything_else_ends_the_test_and_says_why(ruling: Ruling, error: type[VerdictError]) -> None:
    reached = conclude("KV moved", [Finding(check="bytes moved", ruling=ruling, text="0 bytes")])
    with pytest.raises(error, match="bytes moved: 0 bytes") as caught:
        enforce(reached)
    assert caught.value.verdict is reached
    assert isinstance(caught.value, AssertionError)
    assert not isinstance(caught.value, Failed if error is Inconclusive else Inconclusive)
