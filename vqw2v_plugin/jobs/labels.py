"""text ──▶ labels, for whole corpora: the transcripts of manifests become a label folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..stores.label_share import Share
from ..stores.labels import CLASS, PIECES, Labels, dict_name, lexicon_name, read_symbol_file, write_labels
from ..text import spelling
from ..text.lexicon import read_lexicon
from ..text.normalize import DEFAULT_KEEP, Normalizer
from ..text.phones import FOLDS, EspeakPhones
from ..text.units import BOUNDARY, UNKNOWN
from .transcripts import Transcripts, read_transcripts

_NAMED = 12  # unknown labels that a warning lists


@dataclass(frozen=True)
class LabelSettings:
    """How transcripts are read and spelled; each field is the option of `vqw2v labels` of its name."""

    text: str | None  # a column, or a file of lines `utterance<TAB>text`; None: the column that is known
    unit: str  # letters, phones, pieces, words, or class: one of each utterance, whatever it says
    dict: str | None = None
    min_count: int = 1
    case: str = "lower"
    keep: str = DEFAULT_KEEP
    as_is: bool = False
    alphabet: str | None = None
    lexicon: str | None = None
    espeak: str | None = None
    fold: str | None = None
    boundary: bool = True
    vocab_size: int | None = None
    model: str | None = None
    label_fraction: float = 1.0
    label_hours: float | None = None
    label_seed: int = 1

    @property
    def share(self) -> Share:
        """Of the training utterances, as the task `vq_acoustic` draws it."""
        return Share(self.label_fraction, self.label_hours, self.label_seed)

    @property
    def has_words(self) -> bool:
        """A column of phones or of classes has none."""
        return self.unit not in ("phones", CLASS) or bool(self.lexicon or self.espeak)

    @property
    def normalizer(self) -> Normalizer:
        """A column of phones or of classes is left as it is."""
        return Normalizer(self.case, self.keep, enabled=self.has_words and not self.as_is)


@dataclass(frozen=True)
class LabelFolder:
    """All that a label folder is to hold, not yet written."""

    settings: LabelSettings
    splits: Sequence[Transcripts]
    counts: Sequence[tuple[str, int]]  # the dictionary: each label, and how often training has it
    origin: str  # where the dictionary comes from, in words
    extra: Mapping[str, bytes]  # the lexicon and the model of pieces, by the names of their files

    @property
    def is_class(self) -> bool:
        return self.settings.unit == CLASS

    @property
    def warnings(self) -> list[str]:
        """What should be known before anything is trained."""
        lines = []
        for each in self.splits:
            if missing := each.num_without_text:
                lines.append(f"{each.split}: {missing:,} utterances have no text and are left out")
            if unknown := each.num_with_unknown:
                which = f"{unknown:,} of {len(each.utts):,} utterances"
                what = "are of classes that the dictionary lacks:" if self.is_class else "hold <unk>, for"
                lines.append(f"{each.split}: {which} {what} {_most_common(each.unknown)}")
        return lines

    def write(self, out: str | os.PathLike[str]) -> None:
        labels = {
            each.split: Labels(
                tuple(each.utts),
                tuple(map(tuple, each.labels)),
                tuple(each.texts) if self.settings.has_words else None,
                None if each.seconds is None else tuple(each.seconds),
                None if each.speakers is None else tuple(each.speakers),
            )
            for each in self.splits
        }
        write_labels(out, self.settings.unit, labels, self.counts, self._about(), self.extra)

    def _about(self) -> dict[str, Any]:
        named = ("text", "lexicon", "espeak", "fold", "boundary", "min_count", "vocab_size")
        chosen = {name: getattr(self.settings, name) for name in named}
        chosen["text"] = chosen["text"] or self.splits[0].source
        if not self.settings.share.is_all:
            drawn = ("label_fraction", "label_hours", "label_seed")
            chosen |= {name: getattr(self.settings, name) for name in drawn}
        return {
            "normalization": self.settings.normalizer.describe(),
            "settings": {name: value for name, value in chosen.items() if value is not None},
            "splits": {
                each.split: {
                    "manifest": each.digest,
                    "utterances": len(each.utts),
                    "without_text": each.num_without_text,
                    "unknown": dict(each.unknown),
                }
                for each in self.splits
            },
        }


def make_labels(
    manifests: Sequence[str], out: str | os.PathLike[str], settings: LabelSettings
) -> LabelFolder:
    """Labels of all splits under one dictionary; that of `out` is reused if it has one."""
    unit = "text" if settings.has_words else settings.unit
    splits = [read_transcripts(path, settings.text, settings.normalizer, unit) for path in manifests]
    if len({each.split for each in splits}) < len(splits):
        raise ValueError("two manifests have one name, which names their labels; rename one")
    training = [each for each in splits if each.split.startswith("train")] or splits
    if not settings.share.is_all:
        for each in training:
            each.take(settings.share)
    speller = _speller(settings, Path(out), [text for each in training for text in each.texts])
    for each in splits:
        each.spell(speller)
    counts, origin = _dictionary(settings, Path(out), training, speller)
    for each in splits:
        each.apply_dictionary([label for label, _ in counts], keep=settings.unit == CLASS)
    extra = _lexicon(settings, training, speller, {label for label, _ in counts})
    if isinstance(speller, spelling.PieceSpeller):
        extra[PIECES] = speller.model
    return LabelFolder(settings, splits, counts, origin, extra)


def _speller(settings: LabelSettings, out: Path, training: Sequence[str]) -> spelling.Speller:
    """Text to labels, by what was chosen."""
    if settings.unit == CLASS:
        return spelling.ClassSpeller()
    if settings.unit == "letters":
        return spelling.LetterSpeller()
    if settings.unit == "words":
        return spelling.WordSpeller()
    if settings.unit == "pieces":
        return _piece_speller(settings, out / PIECES, training)
    fold = FOLDS[settings.fold or "none"]
    if settings.lexicon:
        variants = spelling.lexicon_variants(read_lexicon(settings.lexicon, settings.normalizer))
        return spelling.PhoneSpeller(variants, fold, settings.boundary)
    if settings.espeak:
        espeak = EspeakPhones(settings.espeak)
        return spelling.PhoneSpeller(lambda word: [espeak(word)], fold, settings.boundary)
    return spelling.PhonesAsTheyAre(fold, settings.boundary)


def _piece_speller(settings: LabelSettings, own: Path, training: Sequence[str]) -> spelling.PieceSpeller:
    if settings.vocab_size is not None:
        if own.exists():
            raise ValueError(f"{own} is there; leave `--vocab-size` out to use it, or name another OUT")
        return spelling.PieceSpeller(spelling.train_pieces(training, settings.vocab_size))
    if settings.model is None and not own.exists():
        raise ValueError("`--unit pieces` needs `--vocab-size N` to train a model, or `--model FILE`")
    return spelling.read_pieces(settings.model or own)


def _dictionary(
    settings: LabelSettings, out: Path, training: Sequence[Transcripts], speller: spelling.Speller
) -> tuple[list[tuple[str, int]], str]:
    """The dictionary and where it comes from: given, found in OUT, the alphabet's, or the training text's."""
    counts = Counter(label for each in training for labels in each.labels for label in labels)
    own = out / dict_name(settings.unit)
    symbols: Sequence[str]
    if isinstance(speller, spelling.PieceSpeller):
        symbols, origin = speller.symbols(), "the model's"
    elif settings.alphabet:
        symbols, origin = (BOUNDARY, *sorted(set(settings.alphabet) - {BOUNDARY, " "})), "the alphabet's"
    elif settings.dict or own.exists():
        symbols, origin = read_symbol_file(settings.dict or own), f"reused from {settings.dict or own}"
    else:
        symbols = _frequent(counts, settings.min_count)
        origin = f"made from {', '.join(each.split for each in training)}"
    return [(symbol, counts[symbol]) for symbol in symbols], origin


def _frequent(counts: Mapping[str, int], min_count: int) -> list[str]:
    """The boundary first, then by name; `<unk>` is fairseq's own."""
    kept = {label for label, n in counts.items() if n >= min_count and label not in (UNKNOWN, BOUNDARY)}
    if not kept:
        raise ValueError(f"no label is there {min_count} times; lower `--min-count`")
    return [*([BOUNDARY] if BOUNDARY in counts else []), *sorted(kept)]


def _lexicon(
    settings: LabelSettings, training: Sequence[Transcripts], speller: spelling.Speller, known: set[str]
) -> dict[str, bytes]:
    """The decoder's lexicon: the words of training, or of `--lexicon`, as the dictionary spells them."""
    if settings.lexicon:
        words = set(read_lexicon(settings.lexicon, settings.normalizer))
    else:
        words = {word for each in training for text in each.texts for word in text.split()}
    spelled = [(word, labels) for word in sorted(words) for labels in speller.spellings(word)]
    lines = [f"{word}\t{' '.join(labels)}\n" for word, labels in spelled if known.issuperset(labels)]
    return {lexicon_name(settings.unit): "".join(lines).encode()} if lines else {}


def _most_common(counts: Counter[str]) -> str:
    found = [f"{name!r} {count:,} times" for name, count in counts.most_common(_NAMED)]
    more = len(counts) - len(found)
    return ", ".join(found) + (f" and {more:,} others" if more > 0 else "")
