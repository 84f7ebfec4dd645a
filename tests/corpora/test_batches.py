"""Neighbours are cut into batches as full as the limits let them be, and none is lost."""

import numpy as np
import pytest

from vqw2v_plugin.corpora.batches import BatchLimits, cut_packed, cut_padded, nearly_equal


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (BatchLimits(10), [[3, 3, 4], [5, 5], [1]]),
        (BatchLimits(9), [[3, 3], [4, 5], [5, 1]]),
        (BatchLimits(None, 4), [[3, 3, 4, 5], [5, 1]]),
        (BatchLimits(10, 2), [[3, 3], [4, 5], [5, 1]]),
        (BatchLimits(), [[3, 3, 4, 5, 5, 1]]),
    ],
)
def test_packed_batches_are_as_long_as_their_sum(limits: BatchLimits, expected: list[list[int]]) -> None:
    sizes = np.array([3, 3, 4, 5, 5, 1])
    order = np.array([9, 2, 7, 0, 4, 1])
    batches = cut_packed(order, sizes, limits)
    assert np.concatenate(batches).tolist() == order.tolist()
    assert [len(batch) for batch in batches] == [len(batch) for batch in expected]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (BatchLimits(10), [[3, 3], [5, 2], [12], [1, 1]]),  # 12 fits nowhere
        (BatchLimits(15), [[3, 3, 5], [2], [12], [1, 1]]),
        (BatchLimits(None, 4), [[3, 3, 5, 2], [12, 1, 1]]),
        (BatchLimits(100, 1), [[3], [3], [5], [2], [12], [1], [1]]),
        (BatchLimits(), [[3, 3, 5, 2, 12, 1, 1]]),
    ],
)
def test_padded_batches_are_as_long_as_their_longest(limits: BatchLimits, expected: list[list[int]]) -> None:
    sizes, order = np.array([3, 3, 5, 2, 12, 1, 1]), np.array([9, 2, 7, 0, 4, 1, 3])
    batches = cut_padded(order, sizes, limits)
    assert np.concatenate(batches).tolist() == order.tolist()
    assert [len(batch) for batch in batches] == [len(batch) for batch in expected]
    assert cut_padded(order[:0], sizes[:0], limits) == []


def test_what_fits_nowhere_is_a_batch_of_its_own_where_it_comes_first_too() -> None:
    order = np.array([4, 2, 7])
    batches = cut_padded(order, np.array([12, 3, 3]), BatchLimits(10))
    assert [batch.tolist() for batch in batches] == [[4], [2, 7]]


def test_lengths_within_four_percent_are_nearly_equal() -> None:
    """From 1,000 to 2,000 there are ln 2 / ln 1.04 = 17.7 such steps, so 18 or 19 numbers."""
    steps = nearly_equal(np.arange(1_000, 2_001))
    assert len(np.unique(steps)) in (18, 19) and (np.diff(steps) >= 0).all()
    assert nearly_equal(np.array([0, 1])).tolist() == [0, 0]
