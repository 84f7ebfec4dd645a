"""`vqw2v labels`: transcripts as letters, phones or pieces, which the acoustic model learns to say."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.words import some_of

if TYPE_CHECKING:
    from ..stores.labels import Labels
    from ..text.normalize import Normalizer
    from ..text.spelling import Speller

HELP = "make label files and a dictionary from transcripts"
_NAMED = 12


@dataclass
class Split:
    """One manifest's transcripts on their way to labels."""

    name: str
    digest: str
    utts: list[str]
    texts: list[str]
    num_without_text: int = 0
    labels: list[list[str]] = field(default_factory=list)
    outside: Counter[str] = field(default_factory=Counter)  # what became <unk>
    num_touched: int = 0  # utterances with an <unk>


def read_split(path: str, source: str, normalize: Normalizer) -> Split:
    """The transcripts of a manifest from its column `source`, or from a file `utt⇥text` of that name."""
    from ..corpora.manifest import Manifest

    manifest = Manifest(path)
    utts = [manifest[i].utt for i in range(len(manifest))]
    if source in manifest.columns:
        texts = manifest.column(source)
    elif Path(source).is_file():
        by_utt = _read_texts(Path(source))
        texts = [by_utt.get(utt, "") for utt in utts]
    else:
        raise ValueError(
            f"`--text` is {source!r}, no column of {path} ({', '.join(manifest.columns)}) and no file; "
            "expected the column of the transcripts, or a file with lines `utterance<TAB>text`"
        )
    kept = [(utt, text) for utt, text in zip(utts, map(normalize, texts), strict=True) if text]
    if not kept:
        raise ValueError(f"{path}: none of its {len(utts)} utterances has a text in {source!r}")
    split = Split(Path(path).stem, manifest.digest, [u for u, _ in kept], [t for _, t in kept])
    split.num_without_text = len(utts) - len(kept)
    return split


def spell(split: Split, speller: Speller) -> None:
    """Fills in the split's labels, and counts what the speller knew no label for."""
    speller.unknown.clear()
    split.labels = [speller(text) for text in split.texts]
    split.outside.update(speller.unknown)


def apply_dictionary(split: Split, symbols: Sequence[str]) -> None:
    """Labels outside the dictionary become `<unk>`, counted by name."""
    from ..text.units import UNKNOWN

    known = {*symbols, UNKNOWN}
    split.outside.update(label for labels in split.labels for label in labels if label not in known)
    split.labels = [[label if label in known else UNKNOWN for label in labels] for labels in split.labels]
    split.num_touched = sum(UNKNOWN in labels for labels in split.labels)


def label_counts(splits: Sequence[Split], min_count: int) -> list[tuple[str, int]]:
    """The dictionary that these splits make: the boundary first, then by name; `<unk>` is fairseq's own."""
    from ..text.units import BOUNDARY, UNKNOWN

    counts = Counter(label for split in splits for labels in split.labels for label in labels)
    del counts[UNKNOWN]
    kept = {label: n for label, n in counts.items() if n >= min_count or label == BOUNDARY}
    if not kept.keys() - {BOUNDARY}:
        raise ValueError(f"no label is there {min_count} times; lower `--min-count`")
    return sorted(kept.items(), key=lambda item: (item[0] != BOUNDARY, item[0]))


def training_splits(splits: Sequence[Split]) -> list[Split]:
    """Those whose names begin with `train`, or all: what dictionaries and pieces are made from."""
    return [split for split in splits if split.name.startswith("train")] or list(splits)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from .labels_arguments import add_arguments as add

    add(parser)


def run(args: argparse.Namespace) -> int:
    from ..stores.labels import EXTENSIONS, PIECES, write_labels
    from .labels_arguments import check, choose_counts, make_normalizer, make_speller

    check(args)
    normalize = make_normalizer(args)
    splits = [read_split(path, args.text, normalize) for path in args.manifests]
    if len({split.name for split in splits}) < len(splits):
        raise ValueError("two manifests have one name, which names their labels; rename one")
    speller = make_speller(args, [text for split in training_splits(splits) for text in split.texts])
    for split in splits:
        spell(split, speller)
    counts, origin = choose_counts(args, splits, speller)
    for split in splits:
        apply_dictionary(split, [label for label, _ in counts])
    trouble = _trouble(splits)
    for line in trouble:
        print(f"warning: {line}", file=sys.stderr)
    if trouble and args.strict:
        raise ValueError("`--strict`, and there are warnings: nothing was written")
    about = _about(args, splits, normalize)
    extra = _lexicon(args, splits, speller, {label for label, _ in counts})
    extra |= {PIECES: speller.model} if args.unit == "pieces" else {}
    write_labels(args.out, args.unit, _published(splits, args), counts, about, extra)
    _report(args, splits, counts, origin, EXTENSIONS[args.unit])
    return 0


def _read_texts(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    for number, line in enumerate(lines, 1):
        utt, tab, text = line.rstrip("\r").partition("\t")
        if not line.strip():
            continue
        if not tab:
            raise ValueError(f"{path}:{number}: {line[:60]!r} has no tab; expected `utterance<TAB>text`")
        if utt in texts:
            raise ValueError(f"{path}:{number}: utterance {utt!r} is there a second time; take one away")
        texts[utt] = text
    return texts


def _trouble(splits: Sequence[Split]) -> list[str]:
    """What should be known before anything is trained."""
    lines = []
    for split in splits:
        if split.num_without_text:
            lines.append(f"{split.name}: {split.num_without_text:,} utterances have no text and are left out")
        if split.num_touched:
            lines.append(
                f"{split.name}: {split.num_touched:,} of {len(split.utts):,} utterances hold <unk>, for "
                f"{_most_common(split.outside)}"
            )
    return lines


def _most_common(counts: Counter[str]) -> str:
    return some_of([f"{name!r} {count:,} times" for name, count in counts.most_common()], _NAMED)


def _published(splits: Sequence[Split], args: argparse.Namespace) -> dict[str, Labels]:
    from ..stores.labels import Labels

    return {
        s.name: Labels(
            tuple(s.utts), tuple(map(tuple, s.labels)), tuple(s.texts) if _has_words(args) else None
        )
        for s in splits
    }


def _lexicon(
    args: argparse.Namespace, splits: Sequence[Split], speller: Speller, known: set[str]
) -> dict[str, bytes]:
    """The decoder's lexicon: the words of training, or of `--lexicon`, as the dictionary spells them."""
    from ..stores.labels import lexicon_name

    if args.lexicon:
        from ..text.lexicon import read_lexicon
        from .labels_arguments import make_normalizer

        words = set(read_lexicon(args.lexicon, make_normalizer(args)))
    else:
        words = {word for split in training_splits(splits) for text in split.texts for word in text.split()}
    spelled = [(word, labels) for word in sorted(words) for labels in speller.spellings(word)]
    lines = [f"{word}\t{' '.join(labels)}\n" for word, labels in spelled if known.issuperset(labels)]
    return {lexicon_name(args.unit): "".join(lines).encode()} if lines else {}


def _about(args: argparse.Namespace, splits: Sequence[Split], normalize: Normalizer) -> dict[str, Any]:
    chosen = ("text", "lexicon", "espeak", "fold", "boundary", "min_count", "vocab_size")
    return {
        "normalization": normalize.describe(),
        "settings": {name: getattr(args, name) for name in chosen if getattr(args, name) is not None},
        "splits": {
            s.name: {
                "manifest": s.digest,
                "utterances": len(s.utts),
                "without_text": s.num_without_text,
                "unknown": dict(s.outside),
            }
            for s in splits
        },
    }


def _report(
    args: argparse.Namespace, splits: Sequence[Split], counts: Sequence[Any], origin: str, extension: str
) -> None:
    print(f"{args.out}: {len(counts):,} {args.unit} in dict.{extension}.txt ({origin})")
    for split in splits:
        words = f"{sum(len(text.split()) for text in split.texts):,} words, " if _has_words(args) else ""
        labels = sum(map(len, split.labels))
        print(f"  {split.name}: {len(split.utts):,} utterances, {words}{labels:,} labels")


def _has_words(args: argparse.Namespace) -> bool:
    """A column of phones has none."""
    return args.unit != "phones" or bool(args.lexicon or args.espeak)
