"""text ──▶ labels, where they begin: one split's transcripts, of a manifest, a table or a file of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..common.inputs import read_text
from ..common.words import lines_of
from ..corpora.listing import read_listing
from ..corpora.sources.columns import text_column
from ..stores.label_share import Share, draw
from ..stores.labels import CLASS, Labels
from ..text import spelling
from ..text.normalize import Normalizer
from ..text.units import UNKNOWN

Value = TypeVar("Value")


@dataclass
class Transcripts:
    """One split's texts on their way to labels."""

    split: str
    digest: str  # of the manifest
    utts: list[str]
    texts: list[str]
    num_without_text: int
    source: str  # the column or the file
    seconds: list[float] | None = None
    speakers: list[str] | None = None
    drawn: str = ""  # whom a share is of, in words
    labels: list[list[str]] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)  # what became <unk>
    num_with_unknown: int = 0  # utterances

    def take(self, share: Share) -> None:
        """Goes on with a share of them."""
        whole = Labels(
            tuple(self.utts), ((),) * len(self.utts), None, _tuple(self.seconds), _tuple(self.speakers)
        )
        drawn = draw(whole, share, self.split)
        self.drawn = drawn.told()
        kept = [i for i, utt in enumerate(self.utts) if utt in drawn.utts]
        self.utts, self.texts = [self.utts[i] for i in kept], [self.texts[i] for i in kept]
        self.seconds, self.speakers = at(self.seconds, kept), at(self.speakers, kept)

    def spell(self, speller: spelling.Speller) -> None:
        """Fills in the labels, and counts what the speller knew no label for."""
        speller.unknown.clear()
        self.labels = [speller(text) for text in self.texts]
        self.unknown.update(speller.unknown)

    def apply_dictionary(self, symbols: Sequence[str], keep: bool = False) -> None:
        """Labels outside the dictionary are counted by name, and become `<unk>` unless all are kept."""
        known = {*symbols, UNKNOWN}
        self.unknown.update(label for labels in self.labels for label in labels if label not in known)
        spelled = [[label if label in known else UNKNOWN for label in labels] for labels in self.labels]
        self.num_with_unknown = sum(UNKNOWN in labels for labels in spelled)
        self.labels = self.labels if keep else spelled


def read_transcripts(path: str, source: str | None, normalize: Normalizer, unit: str = "text") -> Transcripts:
    """Of a manifest or a table, from its column `source` or from a file `utterance<TAB>text` of that name."""
    listing, option = read_listing(path), "--column" if unit == CLASS else "--text"
    utts, source = listing.utts, source or text_column(listing.columns, unit)
    if source is None:
        raise ValueError(
            f"{path}: none of its columns ({', '.join(listing.columns)}) is known to hold {unit}; say "
            f"`{option} COLUMN`, or `{option} FILE` with lines `utterance<TAB>text`"
        )
    if source in listing.columns:
        texts = listing.values[source]
    elif Path(source).is_file():
        by_utt = _read_texts(Path(source))
        texts = [by_utt.get(utt, "") for utt in utts]
    else:
        raise ValueError(
            f"`{option}` is {source!r}, no column of {path} ({', '.join(listing.columns)}) and no file; "
            f"expected the column of the {'classes' if unit == CLASS else 'transcripts'}, or a file with "
            f"lines `utterance<TAB>{unit if unit == CLASS else 'text'}`"
        )
    normal = list(map(normalize, texts))
    kept = [i for i, text in enumerate(normal) if text]
    if not kept:
        raise ValueError(f"{path}: none of its {len(utts)} utterances has a text in {source!r}")
    return Transcripts(
        Path(path).stem,
        listing.digest,
        [utts[i] for i in kept],
        [normal[i] for i in kept],
        len(utts) - len(kept),
        source,
        at(listing.seconds, kept),
        at(listing.speakers, kept),
    )


def _read_texts(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    try:
        lines = lines_of(read_text(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    for number, line in enumerate(lines, 1):
        utt, tab, text = line.partition("\t")
        if not line.strip():
            continue
        if not tab:
            raise ValueError(f"{path}:{number}: {line[:60]!r} has no tab; expected `utterance<TAB>text`")
        if utt in texts:
            raise ValueError(f"{path}:{number}: utterance {utt!r} is there a second time; take one away")
        texts[utt] = text
    return texts


def at(column: Sequence[Value] | None, kept: Sequence[int]) -> list[Value] | None:
    """The values at these places, of a column that may be unknown."""
    return None if column is None else [column[i] for i in kept]


def _tuple(column: Sequence[Value] | None) -> tuple[Value, ...] | None:
    return None if column is None else tuple(column)
