"""Repetition symbols of ASG: packing and unpacking."""

import itertools
import random

import pytest

from vqw2v_plugin.text.units import pack_repeats, unpack_repeats


def test_hello_is_packed_and_unpacked() -> None:
    assert pack_repeats(list("hello"), ["1"]) == ["h", "e", "l", "1", "o"]
    assert pack_repeats(list("aaaabb"), ["1", "2"]) == ["a", "2", "a", "b", "1"]
    assert unpack_repeats(["2", "h", "1", "1", "o"], ["1", "2"]) == ["h", "h", "o"]
    assert pack_repeats(list("hello"), []) == list("hello") and pack_repeats([], ["1"]) == []
    with pytest.raises(ValueError, match="'1' is a repetition symbol"):
        pack_repeats(list("a1"), ["1"])


@pytest.mark.parametrize("symbols", [[7], [7, 8]])
def test_unpacking_inverts_packing_and_leaves_no_equal_neighbours(symbols: list[int]) -> None:
    rng = random.Random(0)
    for _ in range(300):
        labels = rng.choices(range(3), k=rng.randint(0, 12))
        packed = pack_repeats(labels, symbols)
        assert unpack_repeats(packed, symbols) == labels
        assert all(a != b for a, b in itertools.pairwise(packed))
