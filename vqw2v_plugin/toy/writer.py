"""The toy corpus' tables: manifests, times as CTM and a lexicon, written as the utterances (wav) come."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TextIO

from ..common.files import write_whole, writing_text
from .align import SILENCE, Interval
from .chunk import SAMPLE_RATE, ToyUtterance

SPLITS = ("train", "valid", "test")
COLUMNS = ("path", "samples", "speaker", "lang", "utt", "text")
# Of a speaker's every ten utterances one goes to each; the shift spreads them over a short corpus.
_VALID_TURN, _TEST_TURN, _SPEAKER_SHIFT = 1, 2, 3


def split_of(index: int, num_speakers: int) -> str:
    """The split of utterance `index`: 80/10/10 of every speaker, so all splits share all speakers."""
    turn = (index // num_speakers + _SPEAKER_SHIFT * (index % num_speakers)) % 10
    return {_VALID_TURN: "valid", _TEST_TURN: "test"}.get(turn, "train")


class Tables:
    """A corpus' open tables; keeps no utterances, only counts and pronunciations."""

    def __init__(self, out: Path, audio: Path) -> None:
        self.num_utterances: Counter[str] = Counter()
        self.num_samples = 0
        self.phones: set[str] = set()
        self._out = out
        self._pronunciations: dict[tuple[str, str], Counter[tuple[str, ...]]] = {}
        self._stack = ExitStack()
        self._manifests = {split: self._open(f"{split}.tsv") for split in SPLITS}
        self._times = {
            (split, kind): self._open(f"{split}.{kind}.ctm")
            for split in SPLITS
            for kind in ("phones", "words")
        }
        for manifest in self._manifests.values():
            manifest.write(f"{audio}\n# " + "\t".join(COLUMNS) + "\n")

    def __enter__(self) -> Tables:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, utterance: ToyUtterance, split: str) -> None:
        """Write one utterance's rows and count its words' pronunciations."""
        speaker = utterance.speaker
        text = " ".join(word.label for word in utterance.words)
        row = (
            utterance.path,
            str(utterance.num_samples),
            speaker.name,
            speaker.language,
            utterance.name,
            text,
        )
        self._manifests[split].write("\t".join(row) + "\n")
        self._times[split, "phones"].writelines(ctm_line(utterance.name, phone) for phone in utterance.phones)
        self._times[split, "words"].writelines(ctm_line(utterance.name, word) for word in utterance.words)
        self.num_utterances[split] += 1
        self.num_samples += utterance.num_samples
        self.phones.update(phone.label for phone in utterance.phones if phone.label != SILENCE)
        for word, pronunciation in zip(utterance.words, utterance.pronunciations, strict=True):
            counts = self._pronunciations.setdefault((speaker.language, word.label), Counter())
            counts[pronunciation] += 1

    def write_lexicon(self) -> int:
        """Each word with its most frequent pronunciation, and a line for each language that differs."""
        entries = set()
        for (_, word), counts in self._pronunciations.items():
            best = min(counts, key=lambda phones: (-counts[phones], phones))
            entries.add((word, " ".join(best)))
        lines = (f"{word}\t{phones}\n" for word, phones in sorted(entries))
        write_whole(self._out / "lexicon.txt", "".join(lines))
        return len({word for word, _ in entries})

    def _open(self, name: str) -> TextIO:
        return self._stack.enter_context(writing_text(self._out / name))


def ctm_line(utterance: str, interval: Interval) -> str:
    """One CTM row; five decimals of a second name every sample at 16 kHz."""
    start, duration = interval.start / SAMPLE_RATE, (interval.end - interval.start) / SAMPLE_RATE
    return f"{utterance} 1 {start:.5f} {duration:.5f} {interval.label}\n"
