"""wav → … → text for one's own corpus, before anything is trained: what manifests and audio are like."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audio.edges import speech_span
from ..audio.reading import AudioError, read_audio
from ..corpora.manifest import Manifest
from ..corpora.sizes import DEFAULT_RATE, probe_rate, sizes_at
from ..corpora.sources.columns import text_column
from ..text.normalize import Normalizer

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LISTENED = 100  # utterances whose edges are looked at
_HELD_OUT = (("valid", "dev"), ("test", "test-clean", "eval"))


@dataclass(frozen=True)
class SplitLook:
    """One split's utterances that have a text."""

    name: str  # of its manifest
    seconds: tuple[float, ...]
    texts: tuple[str, ...]
    speakers: frozenset[str]

    @property
    def hours(self) -> float:
        return sum(self.seconds) / 3600

    @property
    def words(self) -> set[str]:
        return {word for text in self.texts for word in text.split()}

    def length(self, percent: float) -> float:
        """Seconds that so many percent of the utterances stay below."""
        return float(np.percentile(self.seconds, percent))


@dataclass(frozen=True)
class CorpusLook:
    """What a recipe is chosen by."""

    train: SplitLook
    valid: SplitLook
    test: SplitLook
    column: str  # of the texts
    sample_rate: int  # of the files, the lowest
    edge: float  # seconds of silence at an utterance's ends, both together, in the median
    labels_a_second: float  # letters and ends of words; nine utterances in ten have fewer

    @property
    def new_words(self) -> float:
        """The share of the test's words that training never has."""
        words, known = [word for text in self.test.texts for word in text.split()], self.train.words
        return sum(word not in known for word in words) / max(1, len(words))

    @property
    def new_speakers(self) -> bool:
        return bool(self.test.speakers - self.train.speakers)

    @property
    def is_closed(self) -> bool:
        """Few words, all of which training has: commands, digits, a small grammar."""
        return self.new_words < 0.01 and len(self.train.words) <= 1000


def look_at(folder: Path, text: str | None = None) -> CorpusLook:
    """Of a folder of manifests; ValueError says what is missing."""
    names = _split_names(folder)
    manifests = {role: Manifest(folder / f"{name}.tsv") for role, name in names.items()}
    columns = manifests["train"].columns
    column = text or text_column(columns)
    if column is None or column not in columns:
        raise ValueError(
            f"{folder}/train.tsv: has no column {column or 'of texts'} ({', '.join(columns)}); say "
            "`--text COLUMN`, or list the corpus anew with `vqw2v manifest … --column text=NAME`"
        )
    splits = {role: _split(names[role], manifest, column) for role, manifest in manifests.items()}
    train = splits["train"]
    rates = [
        (len(text.replace(" ", "")) + len(text.split())) / max(0.1, seconds)
        for text, seconds in zip(train.texts, train.seconds, strict=True)
    ]
    rate = _lowest_rate(manifests.values())
    return CorpusLook(
        train,
        splits["valid"],
        splits["test"],
        column,
        rate,
        _edges(manifests["train"], rate),
        float(np.percentile(rates, 90)),
    )


def _split_names(folder: Path) -> dict[str, str]:
    """Which manifest trains, chooses and is decoded; where there is no test set, that of validation is."""
    there = sorted(path.stem for path in folder.glob("*.tsv") if path.stem != "refused")
    if "train" not in there:
        raise ValueError(
            f"{folder}: holds no train.tsv (the manifests there are: {', '.join(there) or 'none'}); name a "
            "folder of `vqw2v manifest`, or what that command reads: audio, a corpus, a table"
        )
    valid, test = (next((name for name in names if name in there), None) for names in _HELD_OUT)
    test = test or next((name for name in there if name.startswith("test")), None)
    valid = valid or test
    if valid is None:
        raise ValueError(
            f"{folder}: holds train.tsv alone; training chooses its best checkpoint by valid.tsv: list the "
            "corpus anew with `vqw2v manifest … --valid 0.1 --test 0.1`"
        )
    names = {"train": "train", "valid": valid, "test": test or valid}
    if strange := [name for name in names.values() if not _NAME.fullmatch(name)]:  # a shell reads them
        raise ValueError(
            f"{folder}: its split {strange[0]!r} is no name of letters, digits, dots and dashes; rename it"
        )
    return names


def _split(name: str, manifest: Manifest, column: str) -> SplitLook:
    normalize = Normalizer()
    texts = [normalize(text) for text in manifest.column(column)] if column in manifest.columns else []
    kept = [i for i, text in enumerate(texts) if text]
    if not kept:
        raise ValueError(
            f"{manifest.path}: none of its {len(manifest):,} utterances has a text in {column!r}"
        )
    seconds = sizes_at(manifest, DEFAULT_RATE) / DEFAULT_RATE
    speakers = manifest.column("speaker") if "speaker" in manifest.columns else [""] * len(texts)
    return SplitLook(
        name,
        tuple(float(seconds[i]) for i in kept),
        tuple(texts[i] for i in kept),
        frozenset(speakers[i] for i in kept) - {""},
    )


def _lowest_rate(manifests: Iterable[Manifest]) -> int:
    """Hz, up to what models want."""
    return min(
        DEFAULT_RATE,
        *(
            int(each.rates.min()) if each.rates is not None and len(each) else probe_rate(each)
            for each in manifests
        ),
    )


def _edges(manifest: Manifest, sample_rate: int) -> float:
    """Of utterances from all over the manifest."""
    found = []
    for i in np.linspace(0, len(manifest) - 1, min(_LISTENED, len(manifest)), dtype=int).tolist():
        try:
            wav = read_audio(manifest[i], sample_rate)
        except (AudioError, OSError):
            continue  # whoever makes features names it
        begin, end = speech_span(wav, sample_rate)
        found.append((begin + len(wav) - end) / sample_rate)
    return float(np.median(found)) if found else 0.0
