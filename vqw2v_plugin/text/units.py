"""states ──acoustic model──▶ letters: what the columns of the emissions stand for, and labels ↔ words.

Labels are a transcript's letters, phones, pieces or words as a label file holds them. Columns are what the
model tells apart: the labels, a blank before or symbols of repetition behind them as the loss wants it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from ..common.words import shortened
from .loss_kinds import LOSS_KINDS, LossKind, loss_kind

KINDS = ("letters", "phones", "pieces", "words")
BOUNDARY = "|"  # ends a word of letters or phones, and stands for the silence between words
PIECE_BEGIN = "▁"  # begins a word of pieces
UNKNOWN = "<unk>"
BLANK = "<blank>"
SILENCE = "<SIL>"  # in text that nobody has spoken: between words, and at the ends of lines
UNSPOKEN = (BOUNDARY, SILENCE)  # no phones
SILENCES = (BOUNDARY, SILENCE, "sil", "SIL")
DEFAULT_REPEATS, MOST_REPEATS = 2, 100  # the papers': `1` and `2`


@dataclass(frozen=True)
class Units:
    """The columns of the emissions [T, V]; make them with `make_units`, `ctc_units` or `asg_units`."""

    symbols: tuple[str, ...]
    kind: str = "letters"
    blank: int | None = None
    repeats: tuple[str, ...] = ()
    loss: LossKind = field(kw_only=True)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"`kind` of units is {self.kind!r}; expected one of {', '.join(KINDS)}")
        if (self.blank is not None) != self.loss.has_blank:
            wanted = "the column of one" if self.loss.has_blank else "none"
            raise ValueError(f"`blank` is {self.blank}; {self.loss.title} has {wanted}")
        if self.blank is not None and (type(self.blank) is not int or not 0 <= self.blank < len(self)):
            raise ValueError(f"`blank` is {self.blank!r}; expected one of the {len(self)} columns")
        if self.repeats and not self.loss.has_repeats:
            raise ValueError(f"`repeats` are {' '.join(self.repeats)}; {self.loss.title} has none")
        seen: set[str] = set()
        for symbol in self.symbols:
            if symbol in seen:
                hint = "; it is a repetition symbol: spell numbers out" if symbol in self.repeats else ""
                raise ValueError(f"the symbol {symbol!r} is there twice; expected each once{hint}")
            seen.add(symbol)

    def __len__(self) -> int:
        return len(self.symbols)

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Units:
        """Of what a file holds; those that name no loss are ASG's or, with a blank, CTC's."""
        for name in ("symbols", "repeats"):
            texts = held[name]
            if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
                raise ValueError(f"`{name}` of units are {shortened(repr(texts))}; expected a list of texts")
        blank = held["blank"]
        loss = loss_kind(held.get("loss") or _loss_told_by(blank))
        return cls(tuple(held["symbols"]), held["kind"], blank, tuple(held["repeats"]), loss=loss)

    def to_json(self) -> dict[str, Any]:
        """What a file holds; it names the loss where `blank` does not tell it."""
        held = {
            "symbols": list(self.symbols),
            "kind": self.kind,
            "blank": self.blank,
            "repeats": list(self.repeats),
        }
        return held if _loss_told_by(self.blank) == self.loss.name else {**held, "loss": self.loss.name}

    @cached_property
    def labels(self) -> frozenset[str]:
        """What a transcript may hold."""
        said = (symbol for column, symbol in enumerate(self.symbols) if column != self.blank)
        return frozenset(said) - {*self.repeats}

    @property
    def boundary(self) -> int | None:
        """The column that ends a word, if there is one."""
        return self.symbols.index(BOUNDARY) if BOUNDARY in self.symbols else None

    @property
    def _starts_with_boundary(self) -> bool:
        return self.loss.starts_with_boundary and self.boundary is not None

    @property
    def silence(self) -> int:
        """The column of silence; -1 if there is none. Among words `sil` is one like any other."""
        if self.kind == "words":
            return -1
        return next((self.symbols.index(name) for name in SILENCES if name in self.symbols), -1)

    def encode(self, labels: Sequence[str]) -> list[int]:
        """The columns of a transcript's labels."""
        wanted = list(labels)
        if self._starts_with_boundary and wanted[:1] != [BOUNDARY]:
            wanted.insert(0, BOUNDARY)
        return self.columns(pack_repeats(wanted, self.repeats) if self.loss.has_repeats else wanted)

    def frames_needed(self, columns: Sequence[int]) -> int:
        """At least, for these columns to be learnt."""
        return self.loss.frames_needed(columns)

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
        return labels[1:] if self._starts_with_boundary and labels[:1] == [BOUNDARY] else labels

    def words(self, labels: Sequence[str]) -> list[str]:
        """The words that labels form; a phone, as a word, is one by itself."""
        return ["".join(labels[i] for i in group).lstrip(PIECE_BEGIN) for group in self.groups(labels)]

    def groups(self, labels: Sequence[str]) -> list[list[int]]:
        """The positions in `labels` of each word's own labels."""
        if self.kind in ("phones", "words"):
            return [[i] for i, label in enumerate(labels) if label not in UNSPOKEN]
        groups: list[list[int]] = [[]]
        for i, label in enumerate(labels):
            if label == BOUNDARY and self.kind == "letters":
                groups.append([])
            elif label.startswith(PIECE_BEGIN) and self.kind == "pieces":
                groups.append([i])
            else:
                groups[-1].append(i)
        return [group for group in groups if any(labels[i] != PIECE_BEGIN for i in group)]


def make_units(
    loss: LossKind, labels: Sequence[str], kind: str = "letters", num_repeats: int = DEFAULT_REPEATS
) -> Units:
    """The columns of a model of a dictionary's labels, in order; a blank is first, `1`, `2`, … last."""
    blank = (BLANK,) if loss.has_blank else ()
    repeats = tuple(str(n) for n in range(1, num_repeats + 1)) if loss.has_repeats else ()
    return Units((*blank, *labels, *repeats), kind, 0 if blank else None, repeats, loss=loss)


def ctc_units(labels: Sequence[str], kind: str = "letters") -> Units:
    """The columns of a CTC model of these labels."""
    return make_units(LOSS_KINDS["ctc"], labels, kind)


def asg_units(labels: Sequence[str], kind: str = "letters", num_repeats: int = DEFAULT_REPEATS) -> Units:
    """The columns of an ASG model of these labels."""
    return make_units(LOSS_KINDS["asg"], labels, kind, num_repeats)


def _loss_told_by(blank: int | None) -> str:
    """Of files from when there were two losses."""
    return "asg" if blank is None else "ctc"


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
