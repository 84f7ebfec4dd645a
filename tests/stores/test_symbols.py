"""Codes and the tokens that stand for them."""

from collections import Counter

import numpy as np
import pytest

from vqw2v_plugin.stores.symbols import UNK, SymbolIds, count_symbols, in_order_of_use, runs, symbols_of


def random_codes(frames: int, groups: int, codes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, codes, (frames, groups)).astype(np.uint16)


@pytest.mark.parametrize(("groups", "codes"), [(1, 5), (2, 320), (8, 1280), (32, 640)])
def test_symbols_spell_the_codes(groups: int, codes: int) -> None:
    """The last two have more pairs than fit into 63 bits."""
    found = random_codes(300, groups, codes)
    symbols, inverse = symbols_of(found)
    assert len(set(symbols)) == len(symbols)
    assert [symbols[i] for i in inverse] == ["-".join(map(str, row)) for row in found.tolist()]


@pytest.mark.parametrize("groups", [66, 80])
def test_codes_of_many_groups_differ_by_their_first_too(groups: int) -> None:
    """Of 66 groups of two codes the first would count 2⁶⁵: beyond what 64 bits hold."""
    codes = np.ones((2, groups), dtype=np.int64)
    codes[1, 0] = 0
    symbols, inverse = symbols_of(codes)
    assert len(symbols) == 2 and inverse[0] != inverse[1]


def test_counts_are_in_fairseq_s_order() -> None:
    parts = [random_codes(500, 2, 4, seed) for seed in range(3)]
    counts = count_symbols(parts)
    assert counts == Counter("-".join(map(str, row)) for part in parts for row in part.tolist())
    order = in_order_of_use(Counter({"2-1": 3, "10-1": 3, "1-1": 9, "1-2": 1}))
    assert order == [("1-1", 9), ("10-1", 3), ("2-1", 3), ("1-2", 1)]


def test_what_the_dictionary_lacks_is_unknown_and_counted() -> None:
    ids = SymbolIds(["1-2", "3-4"])
    codes = np.array([[3, 4], [1, 2], [9, 9], [9, 9], [0, 1]])
    assert ids(codes).tolist() == [5, 4, UNK, UNK, UNK]
    assert ids(codes[:0]).tolist() == []
    assert ids.unknown == {"9-9": 2, "0-1": 1}
    ids(codes[2:3])
    assert ids.unknown == {"9-9": 3, "0-1": 1}  # of all that it was given


def test_runs_can_be_repeated_back() -> None:
    for seed in range(20):
        codes = random_codes(seed, 2, 2, seed)
        lengths = runs(codes)
        kept = codes[np.cumsum(lengths) - lengths]
        assert np.array_equal(np.repeat(kept, lengths, axis=0), codes)
        assert not (kept[1:] == kept[:-1]).all(axis=1).any()
