"""The n-gram LM of the last arrow, first half: a text's n-grams and their counts.

Shapes: N n-grams of one order, in suffix order (by the last word, then the one before it, …); E tokens of the
text, `<s>` and `</s>` included.
Word ids: 0 `<unk>`, 1 `<s>`, 2 `</s>`, then the words as they first appear.
"""

from __future__ import annotations

import gzip
import os
import stat
import sys
import zlib
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from ..common.inputs import UTF8_MARK, check_file, lines_of

Ints = npt.NDArray[np.int32]

SPECIAL = (b"<unk>", b"<s>", b"</s>")
UNK, BOS, EOS = range(3)
MAX_TOKENS = 2**30  # counts and rows have 32 bits


@dataclass(frozen=True)
class Text:
    """Sentences as one sequence of ids, each between `<s>` and `</s>`."""

    words: tuple[str, ...]  # [V]
    ids: Ints
    num_sentences: int
    num_empty: int

    @property
    def num_tokens(self) -> int:
        return len(self.ids) - 2 * self.num_sentences


@dataclass(frozen=True)
class NGrams:
    """All n-grams of one order. `context` and `suffix` are rows of the order below; both 0 at order 1."""

    first: Ints  # [N] first word
    context: Ints  # [N] the n-gram without its last word
    suffix: Ints  # [N] the n-gram without its first word
    raw: Ints  # [N] occurrences
    adjusted: Ints  # [N] how many words precede it; its occurrences if none can

    def __len__(self) -> int:
        return len(self.first)


@contextmanager
def open_text(path: str) -> Iterator[IO[bytes]]:
    """A file, a gzipped file, or `-` for standard input."""
    if path == "-":
        yield sys.stdin.buffer
        return
    if not _is_open_pipe(path):
        check_file(path)
    if Path(path).suffix == ".gz":
        with gzip.open(path) as packed:
            yield packed  # type: ignore[misc]
    else:
        with open(path, "rb") as plain:
            yield plain


def _is_open_pipe(path: str) -> bool:
    """A shell's `<(command)`, which somebody is writing to: a pipe of a name may have no writer."""
    return path.startswith("/dev/fd/") and stat.S_ISFIFO(os.stat(path).st_mode)


def read_text(path: str, skip_symbols: bool = False, left_out: Collection[str] = ()) -> Text:
    """One sentence a line, words between blanks; `skip_symbols` drops `<s>`, `</s>` and `<unk>`."""
    name = "standard input" if path == "-" else path
    try:
        with open_text(path) as file:
            return number_words(lines_of(file, name), name, skip_symbols, left_out)
    except (EOFError, zlib.error) as error:
        raise ValueError(f"{name}: is no whole gzipped text ({error}); pack it anew") from None
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror or error}, expected a text; name another") from None


def number_words(
    lines: Iterable[bytes],
    name: str = "text",
    skip_symbols: bool = False,
    left_out: Collection[str] = (),
) -> Text:
    """Ids for words but those left out; an empty line is an empty sentence, as it is for KenLM."""
    skipped = {*(SPECIAL if skip_symbols else ()), *(word.encode() for word in left_out)}
    numbers: defaultdict[bytes, int] = defaultdict(None, {word: i for i, word in enumerate(SPECIAL)})
    numbers.default_factory = numbers.__len__
    ids, lengths = array("i"), array("q")
    for line in lines:
        if not lengths:
            line = line.removeprefix(UTF8_MARK)
        words = line.replace(b"\0", b" ").split()
        if skipped:
            words = [word for word in words if word not in skipped]
        ids.extend(map(numbers.__getitem__, words))
        lengths.append(len(words))
        if len(ids) > MAX_TOKENS or len(lengths) > MAX_TOKENS:
            raise ValueError(
                f"{name} has more than {MAX_TOKENS:,} words or lines; expected at most so many: use --lmplz"
            )
    if not ids:
        raise ValueError(f"{name} holds no words; expected one sentence a line, its words between blanks")
    flat, length = np.frombuffer(ids, dtype=np.int32), np.frombuffer(lengths, dtype=np.int64)
    _refuse_symbols(flat, length, name)
    return Text(_decode(list(numbers), name), _enclose(flat, length), len(length), int((length == 0).sum()))


def _refuse_symbols(ids: Ints, lengths: npt.NDArray[np.int64], name: str) -> None:
    """Refuses a text whose words include the model's own symbols."""
    found = np.flatnonzero(ids <= EOS)
    if len(found):
        line = np.searchsorted(np.cumsum(lengths), found[0], side="right") + 1
        raise ValueError(
            f"{name}, line {line}: `{SPECIAL[ids[found[0]]].decode()}` is a symbol of the model and cannot "
            "be a word of its text; take it out, or have all such symbols left out with --skip-symbols"
        )


def _enclose(ids: Ints, lengths: npt.NDArray[np.int64]) -> Ints:
    """Each sentence between `<s>` and `</s>`."""
    starts = np.cumsum(lengths) - lengths + 2 * np.arange(len(lengths))
    row = np.empty(len(ids) + 2 * len(lengths), dtype=np.int32)
    is_word = np.ones(len(row), dtype=bool)
    is_word[starts] = is_word[starts + lengths + 1] = False
    row[starts], row[starts + lengths + 1], row[is_word] = BOS, EOS, ids
    return row


def _decode(words: list[bytes], name: str) -> tuple[str, ...]:
    """Words as str."""
    try:
        return tuple(b"\n".join(words).decode("utf-8").split("\n"))
    except UnicodeDecodeError as error:
        start = b"\n".join(words).rfind(b"\n", 0, error.start) + 1
        word = b"\n".join(words)[start:].split(b"\n", 1)[0]
        raise ValueError(f"{name}: the word {word!r} is not UTF-8; convert the text to UTF-8 first") from None


def count_ngrams(text: Text, order: int) -> list[NGrams]:
    """The n-grams of every order up to `order`, with adjusted counts (Heafield et al. 2013, §3.2)."""
    ids, size = text.ids, len(text.words)
    token = np.arange(len(ids), dtype=np.int32)
    place = token - np.maximum.accumulate(np.where(ids == BOS, token, 0))  # in its sentence; <s> is at 0
    orders = [_unigrams(ids, size)]
    rows = ids.astype(np.int64)  # [E] for each token the n-gram of the order below that ends there
    for n in range(2, order + 1):
        ends = np.flatnonzero(place >= n - 1)  # where n words of one sentence end, `<s>` included
        if not len(ends):
            raise ValueError(
                f"`order` {order} is too high: the longest sentence has {place.max() - 1} words, which with "
                f"`<s>` and `</s>` holds no {n}-gram; expected at most {n - 1}, or more text"
            )
        keys = rows[ends] * size + ids[ends - n + 1]  # sorted, they are in suffix order
        found, which, raw = np.unique(keys, return_inverse=True, return_counts=True)
        context = np.empty(len(found), dtype=np.int32)
        context[which] = rows[ends - 1]
        suffix, first = (half.astype(np.int32) for half in np.divmod(found, size))
        below = orders[-1]
        distinct = np.bincount(suffix, minlength=len(below)).astype(np.int32)
        orders[-1] = replace(below, adjusted=np.where(below.first == BOS, below.raw, distinct))
        raw = raw.astype(np.int32)
        orders.append(NGrams(first, context, suffix, raw, raw))
        rows[ends] = which
    return orders


def _unigrams(ids: Ints, size: int) -> NGrams:
    """Every word; `<s>` is never predicted and counts for nothing."""
    raw = np.bincount(ids, minlength=size).astype(np.int32)
    raw[BOS] = 0
    zeros = np.zeros(size, dtype=np.int32)
    return NGrams(np.arange(size, dtype=np.int32), zeros, zeros, raw, raw)
