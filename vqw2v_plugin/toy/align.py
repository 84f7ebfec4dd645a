"""The toy corpus' times: espeak's events as words and phones that cover the utterance (wav) without gaps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .espeak import Event, Speech

SILENCE = "SIL"
# A shorter pause is the onset of the phone that follows it.
MIN_SILENCE_SECONDS = 0.05
# A shorter run of zeros is a zero crossing, not the closure of a stop.
MIN_CLOSURE_SECONDS = 0.005
# espeak folds an `l` or a nasal into the end of the vowel before it; they get this share of the vowel.
FOLDED_SHARE = 0.35


@dataclass(frozen=True)
class Interval:
    """A stretch of audio, `start <= sample < end`, and what is said in it."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class SentenceTimes:
    """The phones (silence among them), the words, and each word's pronunciation, in order."""

    phones: tuple[Interval, ...]
    words: tuple[Interval, ...]
    pronunciations: tuple[tuple[str, ...], ...]


@dataclass
class _Phone:
    label: str
    start: int
    word: int  # -1 for silence


def spoken_text(tokens: tuple[str, ...]) -> str:
    """The text for espeak: no blank before commas, and a full stop, which gives the sentence its melody."""
    return " ".join(tokens).replace(" ,", ",") + "."


def align(speech: Speech, tokens: tuple[str, ...]) -> SentenceTimes:
    """Words and phones of `tokens` in `speech`, in samples at espeak's rate."""
    phones = _read_events(speech, tokens)
    _give_closures_to_stops(phones, speech)
    phones = _absorb_short_pauses(_share_folded(phones), int(MIN_SILENCE_SECONDS * speech.sample_rate))
    ends = [phone.start for phone in phones[1:]] + [len(speech.samples)]
    intervals = [Interval(phone.start, end, phone.label) for phone, end in zip(phones, ends, strict=True)]
    words, pronunciations = [], []
    for index, word in enumerate(token for token in tokens if token != ","):
        own = [interval for interval, phone in zip(intervals, phones, strict=True) if phone.word == index]
        if not own:
            raise ValueError(f"espeak-ng gave no phone to `{word}` in `{spoken_text(tokens)}`; leave it out")
        words.append(Interval(own[0].start, own[-1].end, word))
        pronunciations.append(tuple(interval.label for interval in own))
    return SentenceTimes(tuple(intervals), tuple(words), tuple(pronunciations))


def clean_label(label: str) -> str:
    """The bare phone, without marks of stress or liaison; empty for a marker such as `(en)`."""
    return "" if label.startswith("(") else label.strip("ˈˌ-_:|;")


def _read_events(speech: Speech, tokens: tuple[str, ...]) -> list[_Phone]:
    """An entry for each phone event, silences with word -1; a word's first phone begins with its word."""
    words = _words_by_position(tokens)
    phones = [_Phone(SILENCE, 0, -1)]
    current, begins = -1, -1
    for event in speech.events:
        if event.is_word:
            current, begins = _word_of(event, words, current), event.sample
            continue
        label = clean_label(event.label)
        start = begins if label and begins >= 0 else event.sample
        if label:
            begins = -1
        phones.append(_Phone(label or SILENCE, start, current if label else -1))
    return phones


def _words_by_position(tokens: tuple[str, ...]) -> dict[int, int]:
    words: dict[int, int] = {}
    position = 0
    for token in tokens:
        if token != ",":
            words[position] = len(words)
            position += len(token) + 1
        else:
            position += 1  # the comma takes the place of the blank before it, and a blank follows
    return words


def _word_of(event: Event, words: dict[int, int], current: int) -> int:
    # An event inside a word (a compound number, a hyphen) stays with that word.
    return words.get(event.position, current)


def _give_closures_to_stops(phones: list[_Phone], speech: Speech) -> None:
    """Move a phone's start back over the silence before it: espeak's event comes at a stop's burst."""
    shortest = int(MIN_CLOSURE_SECONDS * speech.sample_rate)
    for previous, phone in itertools.pairwise(phones):
        if phone.word >= 0 and previous.word >= 0:
            zeros = _trailing_zeros(speech.samples[previous.start : phone.start])
            if zeros >= shortest:
                phone.start -= zeros


def _trailing_zeros(samples: NDArray[np.int16]) -> int:
    loud = np.flatnonzero(samples)
    return len(samples) if len(loud) == 0 else len(samples) - 1 - int(loud[-1])


def _share_folded(phones: list[_Phone]) -> list[_Phone]:
    """Give phones without a duration the end of the phone before them; drop silences without one."""
    kept: list[_Phone] = []
    for index, phone in enumerate(phones):
        end = phones[index + 1].start if index + 1 < len(phones) else None
        if phone.word >= 0 and phone.start == end and kept:
            before = kept[-1].start
            phone.start = before + round((phone.start - before) * (1 - FOLDED_SHARE))
        elif phone.word < 0 and phone.start == end:
            continue
        kept.append(phone)
    return kept


def _absorb_short_pauses(phones: list[_Phone], shortest: int) -> list[_Phone]:
    """Merge adjacent silences; a short one becomes the onset of the next phone, as closures do."""
    kept: list[_Phone] = []
    for phone in phones:
        if kept and kept[-1].word < 0:
            if phone.word < 0:
                continue
            if phone.start - kept[-1].start < shortest:
                phone.start = kept.pop().start
        kept.append(phone)
    return kept
