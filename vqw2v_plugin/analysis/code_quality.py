"""tokens [T, G] of utterances → what users of units ask: sure of how much, of whose voice, how steady.

N frames, G groups, P phones, K different tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..decoding.scoring import align, count
from ..stores.symbols import runs
from .phone_codes import Codes, phone_information

_DRAWS = 200
_SMOOTHING = 0.5  # of a token that a voice was not heard to use


@dataclass(frozen=True)
class Interval:
    """Where 95 of 100 draws of the speakers lie; none where there are fewer than three."""

    low: float
    high: float
    speakers: int
    of: str = "speakers"  # or what they are in their place


def share_over_speakers(
    ids: Codes, phones: Sequence[str], speakers: Sequence[str], seed: int = 0, of: str = "speakers"
) -> Interval | None:
    """Of the phone-normalised mutual information: speakers are drawn again and again, with repeats."""
    names, whose = np.unique(np.asarray(speakers), return_inverse=True)
    if len(names) < 3:
        return None
    rng, labels = np.random.default_rng(seed), np.asarray(phones)
    frames = [np.flatnonzero(whose == i) for i in range(len(names))]
    found = []
    for _ in range(_DRAWS):
        drawn = np.concatenate([frames[i] for i in rng.integers(len(names), size=len(names))])
        _, own = np.unique(ids[drawn], return_inverse=True)
        found.append(phone_information(own.reshape(-1), labels[drawn].tolist()).share)
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(float(low), float(high), len(names), of)


@dataclass(frozen=True)
class VoiceProbe:
    """How often a clip's tokens alone tell whose it is, of clips that the probe did not learn from."""

    accuracy: float
    chance: float  # of always naming the speaker with most clips
    clips: int
    speakers: int


def probe_voices(codes: Mapping[str, Codes], speakers: Mapping[str, str]) -> VoiceProbe | None:
    """Naive Bayes over counts of tokens; every second clip of a speaker is learnt from.

    None where fewer than two speakers have two clips.
    """
    clips: dict[str, list[str]] = {}
    for utt in codes:
        if utt in speakers:
            clips.setdefault(speakers[utt], []).append(utt)
    clips = {speaker: utts for speaker, utts in clips.items() if len(utts) > 1}
    if len(clips) < 2:
        return None
    flat = np.concatenate([codes[utt] for utts in clips.values() for utt in utts])
    table, ids = np.unique(flat, axis=0, return_inverse=True)
    lengths = [len(codes[utt]) for utts in clips.values() for utt in utts]
    parts = np.split(ids.reshape(-1), np.cumsum(lengths)[:-1])
    counts = np.stack([np.bincount(part, minlength=len(table)) for part in parts])  # [clips, K]
    of = np.repeat(np.arange(len(clips)), [len(utts) for utts in clips.values()])
    turn = np.concatenate([np.arange(len(utts)) for utts in clips.values()])
    learnt, asked = turn % 2 == 0, turn % 2 == 1
    voices = np.stack([counts[learnt & (of == i)].sum(0) for i in range(len(clips))]) + _SMOOTHING
    scores = counts[asked] @ np.log(voices / voices.sum(1, keepdims=True)).T
    right = scores.argmax(1) == of[asked]
    chance = np.bincount(of[asked]).max() / asked.sum()
    return VoiceProbe(float(right.mean()), float(chance), int(asked.sum()), len(clips))


def unit_edits(before: Codes, after: Codes) -> float:  # [T, G], [T', G]
    """Edits from the one to the other, a run of equal tokens counting once, for each token before."""
    sides = [[tuple(row) for row in _heads(codes).tolist()] for codes in (before, after)]
    return count(align(*sides)).total / max(1, len(sides[0]))


def effective_rank(x: npt.NDArray[np.float32]) -> float:  # [N, D]
    """exp of the entropy of the singular values of what varies: how many directions features fill."""
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(centred.T @ centred), 0))
    if not values.sum():
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _heads(codes: Codes) -> Codes:
    """The first token of each run."""
    if not len(codes):
        return codes
    lengths = runs(codes)
    heads: Codes = codes[np.cumsum(lengths) - lengths]
    return heads
