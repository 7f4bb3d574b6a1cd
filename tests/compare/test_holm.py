from __future__ import annotations

import numpy as np
import pytest

from pdtest.compare.holm import holm


def test_the_smallest_counts_as_often_as_there_are_measures() -> None:
    # By hand: 0.01 * 4, then 0.02 * 3, 0.03 * 2, 0.5 * 1; none below the one before.
    assert holm(np.array([0.03, 0.01, 0.5, 0.02])) == pytest.approx([0.06, 0.04, 0.5, 0.06])


def test_never_above_one_nor_out_of_order() -> None:
    assert holm(np.array([0.9, 0.4])) == pytest.approx([0.9, 0.8])
    assert holm(np.array([0.9, 0.6])) == pytest.approx([1, 1])


def test_a_family_of_one_is_as_it_was_and_of_none_is_none() -> None:
    assert holm(np.array([0.04])) == pytest.approx([0.04])
    assert holm(np.array([])).shape == (0,)


def test_families_stand_in_rows() -> None:
    rows = np.array([[0.01, 0.02], [0.5, 0.001]])
    assert holm(rows) == pytest.approx(np.array([[0.02, 0.02], [0.5, 0.002]]))
