from __future__ import annotations

from pathlib import Path

import pytest

from pdtest.kills.catalogue import CATALOGUE, QUICK
from pdtest.kills.mutant import Mutant, Place

PAGE = (Path(__file__).parents[2] / "docs" / "mutants.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("mutant", CATALOGUE, ids=lambda mutant: mutant.name)
def test_each_mutant_is_in_the_page_as_it_is(mutant: Mutant) -> None:
    star = "*" if mutant.name in QUICK else ""
    unseen = "; ".join(f"{suite}: {why}" for suite, why in mutant.unseen.items())
    row = f"| `{mutant.name}`{star} | {mutant.place} | {', '.join(mutant.bugs)} | {mutant.does} | {unseen} |"
    assert row in PAGE.splitlines()


def test_the_page_has_no_others() -> None:
    places = tuple(f"| `{place}-" for place in Place)
    rows = [row for row in PAGE.splitlines() if row.startswith(places)]
    assert len(rows) == len(CATALOGUE)
