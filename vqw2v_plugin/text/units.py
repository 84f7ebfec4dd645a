"""states ──acoustic model──▶ letters: what the columns of the emissions stand for, and labels ↔ words.

Labels are a transcript's letters, phones or pieces as a label file holds them. Columns are what the model
tells apart: the labels, after CTC's blank or before ASG's repetition symbols.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

KINDS = ("letters", "phones", "pieces")
BOUNDARY = "|"  # ends a word of letters or phones, and stands for the silence between words
PIECE_BEGIN = "▁"  # begins a word of pieces
UNKNOWN = "<unk>"
BLANK = "<blank>"
SILENCES = (BOUNDARY, "sil", "SIL")
DEFAULT_REPEATS = 2  # the papers': `1` and `2`


@dataclass(frozen=True)
class Units:
    """The columns of the emissions [T, V]; make them with `ctc_units` or `asg_units`."""

    symbols: tuple[str, ...]
    kind: str = "letters"
    blank: int | None = None
    repeats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"`kind` of units is {self.kind!r}; expected one of {', '.join(KINDS)}")
        seen: set[str] = set()
        for symbol in self.symbols:
            if symbol in seen:
                hint = "; it is a repetition symbol: spell numbers out" if symbol in self.repeats else ""
                raise ValueError(f"the symbol {symbol!r} is there twice; expected each once{hint}")
            seen.add(symbol)

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def is_ctc(self) -> bool:
        return self.blank is not None

    @property
    def boundary(self) -> int | None:
        """The column that ends a word, if there is one."""
        return self.symbols.index(BOUNDARY) if BOUNDARY in self.symbols else None

    @property
    def silence(self) -> int:
        """The column of silence; -1 if there is none."""
        return next((self.symbols.index(name) for name in SILENCES if name in self.symbols), -1)

    def encode(self, labels: Sequence[str]) -> list[int]:
        """The columns of a transcript's labels; for ASG they begin with the boundary, its silence."""
        wanted = list(labels)
        if not self.is_ctc:
            if self.boundary is not None and wanted[:1] != [BOUNDARY]:
                wanted.insert(0, BOUNDARY)
            wanted = pack_repeats(wanted, self.repeats)
        return self.columns(wanted)

    def columns(self, symbols: Iterable[str]) -> list[int]:
        """The columns of symbols as they are."""
        index = {symbol: column for column, symbol in enumerate(self.symbols)}
        if self.blank is not None:
            del index[self.symbols[self.blank]]
        try:
            return [index[symbol] for symbol in symbols]
        except KeyError as error:
            raise ValueError(
                f"the label {error.args[0]!r} is none of the {len(self)} symbols of the model "
                f"({' '.join(self.symbols[:40])}); make labels and model with one dictionary"
            ) from None

    def decode(self, columns: Iterable[int]) -> list[str]:
        """The labels of columns, each once: the inverse of `encode`."""
        said = [self.symbols[column] for column in columns if column != self.blank]
        labels = unpack_repeats(said, self.repeats)
        if not self.is_ctc and labels[:1] == [BOUNDARY]:
            labels = labels[1:]
        return labels

    def words(self, labels: Sequence[str]) -> list[str]:
        """The words that labels form; a phone counts as a word."""
        return ["".join(labels[i] for i in group).lstrip(PIECE_BEGIN) for group in self.groups(labels)]

    def groups(self, labels: Sequence[str]) -> list[list[int]]:
        """The positions in `labels` of each word's own labels."""
        if self.kind == "phones":
            return [[i] for i, label in enumerate(labels) if label != BOUNDARY]
        groups: list[list[int]] = [[]]
        for i, label in enumerate(labels):
            if label == BOUNDARY and self.kind == "letters":
                groups.append([])
            elif label.startswith(PIECE_BEGIN) and self.kind == "pieces":
                groups.append([i])
            else:
                groups[-1].append(i)
        return [group for group in groups if any(labels[i] != PIECE_BEGIN for i in group)]


def ctc_units(labels: Sequence[str], kind: str = "letters") -> Units:
    """The columns of a CTC model of these labels (a dictionary's, in order): the blank comes first."""
    return Units((BLANK, *labels), kind, blank=0)


def asg_units(labels: Sequence[str], kind: str = "letters", num_repeats: int = DEFAULT_REPEATS) -> Units:
    """The columns of an ASG model of these labels: `1`, `2`, … come last."""
    repeats = tuple(str(n) for n in range(1, num_repeats + 1))
    return Units((*labels, *repeats), kind, repeats=repeats)


Label = TypeVar("Label")


def pack_repeats(labels: Sequence[Label], repeat_symbols: Sequence[Label]) -> list[Label]:
    """Equal neighbours as one label and a symbol of repetition: symbol k for k + 1 times more."""
    if clash := [label for label in labels if label in repeat_symbols]:
        raise ValueError(f"{clash[0]!r} is a repetition symbol and cannot be a label of a transcript")
    packed: list[Label] = []
    for label, run in itertools.groupby(labels):
        left = len(list(run))
        while left:
            again = min(left - 1, len(repeat_symbols))
            packed += [label, repeat_symbols[again - 1]] if again else [label]
            left -= again + 1
    return packed


def unpack_repeats(labels: Sequence[Label], repeat_symbols: Sequence[Label]) -> list[Label]:
    """What `pack_repeats` packed; a repetition symbol with no label before it is dropped."""
    unpacked: list[Label] = []
    previous: list[Label] = []
    for label in labels:
        if label in repeat_symbols:
            unpacked += previous * (repeat_symbols.index(label) + 1)
            previous = []
        else:
            unpacked.append(label)
            previous = [label]
    return unpacked
