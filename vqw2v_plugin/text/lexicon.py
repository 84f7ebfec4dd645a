"""letters ──decoder──▶ text: how words are spelled, in files of `word label label …` lines."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ..common.files import write_whole
from ..common.inputs import read_text
from .units import BOUNDARY, PIECE_BEGIN, UNKNOWN, Units

Spellings = dict[str, list[tuple[str, ...]]]  # word: its spellings, the first the usual one
MOST_LABELS = 1_000  # of a word; a search takes a step of recursion for each
_VARIANT = re.compile(r"\(\d+\)$")  # the `(2)` of a second pronunciation


def read_lexicon(path: str | os.PathLike[str], word_form: Callable[[str], str] | None = None) -> Spellings:
    """Spellings by word; a word alone on its line has an empty one and is spelled by its letters, or by
    itself where words are labels.

    `word_form` is what transcripts went through too, so that both spell `IT'S` alike.
    """
    spellings: Spellings = {}
    for number, line in enumerate(_lines(Path(path)), 1):
        fields = line.split()
        if not fields or line.startswith(";;;"):
            continue
        if len(fields) > MOST_LABELS or len(fields[0]) > MOST_LABELS:
            raise ValueError(
                f"{path}:{number}: a word of {len(fields[0]):,} letters and {len(fields) - 1:,} labels; "
                f"expected fewer than {MOST_LABELS:,} of both: is it a line for each word?"
            )
        word = _VARIANT.sub("", fields[0])
        word = word_form(word) if word_form else word
        found = spellings.setdefault(word, [])
        if word and tuple(fields[1:]) not in found:
            found.append(tuple(fields[1:]))
    for no_word in ("", UNKNOWN):
        spellings.pop(no_word, None)
    if not spellings:
        raise ValueError(f"{path}: has no words; expected lines `word label label …`, or a word a line")
    return spellings


def spells_labels(spellings: Spellings) -> bool:
    """Whether every word is one label, itself: by such a lexicon of phones a model of phones is searched."""
    return all(way in ((word,), (word, BOUNDARY)) for word, ways in spellings.items() for way in ways)


def write_lexicon(path: str | os.PathLike[str], spellings: Mapping[str, Iterable[tuple[str, ...]]]) -> None:
    """A line for each spelling, sorted by word."""
    lines = [f"{word}\t{' '.join(s)}\n" for word, found in sorted(spellings.items()) for s in found]
    write_whole(Path(path), "".join(lines))


def columns_of(
    spellings: Mapping[str, Iterable[tuple[str, ...]]], units: Units
) -> list[tuple[str, list[int]]]:
    """(word, columns) of each spelling; words end with the boundary where the model has one.

    Spellings are packed as the model's transcripts were. A word that cannot be spelled is an error.
    """
    spelled = []
    for word, found in spellings.items():
        try:
            ways = dict.fromkeys(tuple(_columns(word, labels, units)) for labels in found)
        except ValueError as error:
            raise ValueError(f"the lexicon's word {word!r}: {error}") from None
        spelled += [(word, list(way)) for way in ways]
    return spelled


def _columns(word: str, labels: tuple[str, ...], units: Units) -> list[int]:
    wanted = list(labels) or _own_spelling(word, units)
    has_boundary = units.boundary is not None and units.kind != "pieces"
    wanted = wanted[:-1] if wanted[-1:] == [BOUNDARY] else wanted
    if not wanted:
        raise ValueError("has no labels; expected one at least beside the boundary")
    columns = units.encode([*wanted, BOUNDARY] if has_boundary else wanted)
    # A boundary that `encode` puts before a transcript is the one that ended the word before.
    return columns[1:] if has_boundary and units.loss.starts_with_boundary else columns


def _own_spelling(word: str, units: Units) -> list[str]:
    """Of a word that stands alone on its line."""
    if units.kind in ("letters", "words"):
        return list(word) if units.kind == "letters" else [word]
    example = f"{PIECE_BEGIN}w o rd" if units.kind == "pieces" else "W ER D"
    raise ValueError(f"has no spelling; expected its {units.kind} behind it, such as `word {example}`")


def _lines(path: Path) -> list[str]:
    try:
        return read_text(path).split("\n")
    except OSError as error:
        raise ValueError(
            f"{path}: {(error.strerror or str(error)).lower()}, expected a lexicon; `vqw2v labels` writes one"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
