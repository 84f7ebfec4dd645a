"""The tokens of the picture on disk, what is text of them: dict.txt and tokens.json.

dict.txt has a line `symbol count` for each symbol in the order of their ids. The ids themselves are in
`tokens.py`. Neither torch nor fairseq is needed here.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..common.files import write_whole
from .folder import SplitFormat, StoreError, text_lines

# fairseq's <s> <pad> </s> <unk> come before the first line of dict.txt (also in modules/bert/vocabulary.py)
EOS, UNK, NUM_SPECIAL = 2, 3, 4
DICT = "dict.txt"


class TokenError(StoreError):
    """A token folder that cannot be used; the message names the file and the reason."""


TOKENS = SplitFormat(
    about="tokens.json",
    files=("idx", "bin", "ids", "durations.npy", "txt", "codes", "refused.tsv"),
    made_with="vqw2v discretize",
    error=TokenError,
    earlier_parts=tuple(f"{kind}.{name}" for kind in ("uint16", "uint32") for name in ("bin", "ids", "idx")),
)


def read_dict(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The symbols of a dict.txt (`symbol count` a line) in their order; the first one's id is 4."""
    try:
        lines = text_lines(Path(path))
    except FileNotFoundError:
        raise TokenError(
            f"{path}: is missing; expected the tokens' dictionary, a line 'symbol count' each"
        ) from None
    except OSError as error:
        raise TokenError(f"{path}: {error.strerror}, expected a dictionary; name another") from None
    except UnicodeDecodeError as error:
        raise TokenError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    if lines:
        lines[0] = lines[0].removeprefix("\ufeff")  # an editor's mark
    symbols: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        symbol, _, count = line.rstrip().rpartition(" ")
        if not symbol or not (count.isascii() and count.isdecimal()):
            raise TokenError(
                f"{path}:{number}: got {line[:80]!r}, expected 'symbol count' such as '12-207 1402'"
            )
        if symbol in symbols:
            raise TokenError(f"{path}:{number}: symbol {symbol!r} is there a second time; expected each once")
        symbols[symbol] = None
    return tuple(symbols)


def write_dict(path: str | os.PathLike[str], counts: Iterable[tuple[str, int]]) -> None:
    """Writes (symbol, count) in the order given, whole or not at all; fairseq reads it."""
    write_whole(Path(path), "".join(f"{symbol} {count}\n" for symbol, count in counts))


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
            counts = np.bincount(inverse)
            self.unknown.update({s: int(n) for s, n, i in zip(symbols, counts, ids, strict=True) if i == UNK})
        return ids[inverse] if len(inverse) else ids


def count_symbols(parts: Iterable[Codes]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for codes in parts:
        symbols, inverse = symbols_of(codes)
        uses = np.bincount(inverse)
        counts.update(dict(zip(symbols, uses.tolist(), strict=True)))
    return counts


def runs(codes: Codes) -> Ids:  # [T, G] → [N]
    """How many frames each run of equal codes lasts."""
    if not len(codes):
        return np.zeros(0, dtype=np.int64)
    changes = np.flatnonzero((codes[1:] != codes[:-1]).any(axis=1)) + 1
    return np.diff(np.concatenate([[0], changes, [len(codes)]])).astype(np.int64)
