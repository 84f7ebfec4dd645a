"""Codes [n, G] ↔ the tokens that stand for them: `12-207` is code 12 of one group, 207 of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from .token_folder import NUM_SPECIAL

UNK = 3  # fairseq's id of <unk>
Codes = npt.NDArray[np.integer]
Ids = npt.NDArray[np.int64]


def symbols_of(codes: Codes) -> tuple[list[str], Ids]:
    """The different symbols of codes [n, G], and which of them each row is."""
    wide = np.ascontiguousarray(codes, dtype=np.int64)
    sizes = [int(column.max()) + 1 for column in wide.T] if len(wide) else []
    space = 1
    for size in sizes:
        space *= size
    if space < 1 << 63:
        keys = np.zeros(len(wide), dtype=np.int64)
        for column, size in zip(wide.T, sizes, strict=False):
            keys = keys * size + column
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    else:
        _, first, inverse = np.unique(wide, axis=0, return_index=True, return_inverse=True)
    return ["-".join(map(str, row)) for row in wide[first].tolist()], inverse.reshape(-1)


def in_order_of_use(counts: Counter[str]) -> list[tuple[str, int]]:
    """As fairseq's dictionaries are: the most frequent first, of two as frequent the first by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


class SymbolIds:
    """A dictionary in use: codes → ids, and what it did not know."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._ids = {symbol: i for i, symbol in enumerate(symbols, NUM_SPECIAL)}
        self.unknown: Counter[str] = Counter()

    def __call__(self, codes: Codes) -> Ids:  # [n, G] → [n]
        symbols, inverse = symbols_of(codes)
        ids = np.array([self._ids.get(symbol, UNK) for symbol in symbols], dtype=np.int64)
        if (ids == UNK).any():
            counts = np.bincount(inverse, minlength=len(symbols))
            self.unknown.update({s: int(n) for s, n, i in zip(symbols, counts, ids, strict=True) if i == UNK})
        return ids[inverse] if len(inverse) else ids


def count_symbols(parts: Iterable[Codes]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for codes in parts:
        symbols, inverse = symbols_of(codes)
        uses = np.bincount(inverse, minlength=len(symbols))
        counts.update(dict(zip(symbols, uses.tolist(), strict=True)))
    return counts


def runs(codes: Codes) -> Ids:  # [T, G] → [N]
    """How many frames each run of equal codes lasts."""
    if not len(codes):
        return np.zeros(0, dtype=np.int64)
    changes = np.flatnonzero((codes[1:] != codes[:-1]).any(axis=1)) + 1
    return np.diff(np.concatenate([[0], changes, [len(codes)]])).astype(np.int64)
