"""letters ──decoder──▶ text: a path of columns, one a frame, as labels and words with times and confidences.

Shapes: T frames, V columns of the emissions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..modules.acoustic import asg_scan
from ..text.units import BOUNDARY, Units
from .hypothesis import Emissions, TimedText, Transitions

TINY = 1e-12
Probabilities = NDArray[np.float32]  # [T, V]


def frame_probabilities(emissions: Emissions, transitions: Transitions | None) -> Probabilities:
    """[T, V]: how probable each column is at each frame, all paths of the model taken together."""
    scores = torch.from_numpy(emissions)
    if transitions is None or not len(emissions):  # then frames know nothing of each other
        probabilities = scores.softmax(-1)
    else:
        lengths = torch.tensor([len(emissions)])
        e, g = asg_scan.finite(scores).unsqueeze(0), asg_scan.finite(torch.from_numpy(transitions))
        with asg_scan.threads_for(e):
            gradients = asg_scan.all_paths(e, g, lengths, True).gradients
        assert gradients is not None
        probabilities = gradients[0][0].float()
    found: Probabilities = probabilities.numpy()
    return found


def spell_path(path: Sequence[int], units: Units, probabilities: Probabilities) -> list[TimedText]:
    """The labels of a path [T] with their frames; a repetition symbol is the label before it once more."""
    segments: list[TimedText] = []
    taken = np.clip(np.asarray(path, np.int64), 0, len(units) - 1)
    sure = probabilities[np.arange(len(taken)), taken].tolist()  # [T]
    repeatable, end = False, 0
    for column, run in itertools.groupby(path):
        begin, end = end, end + sum(1 for _ in run)
        if column == units.blank or not 0 <= column < len(units):
            continue
        symbol, confidence = units.symbols[column], sum(sure[begin:end]) / (end - begin)
        if symbol not in units.repeats:
            segments.append(TimedText(symbol, begin, end, confidence))
        elif repeatable:
            again = TimedText(segments[-1].text, begin, end, confidence)
            segments += [again] * (units.repeats.index(symbol) + 1)
        repeatable = symbol not in units.repeats
    return segments


def words_of(labels: Sequence[TimedText], units: Units) -> list[TimedText]:
    """The words that the labels make."""
    texts = [label.text for label in labels]
    groups = units.groups(texts)
    return [
        join(word, [labels[i] for i in group]) for word, group in zip(units.words(texts), groups, strict=True)
    ]


def words_ending(
    labels: Sequence[TimedText], ends: Sequence[tuple[int, str]], silence: str = BOUNDARY
) -> list[TimedText]:
    """The words that a lexicon found: (frame in which the last label of its spelling begins, word)."""
    words, first = [], 0
    for frame, word in ends:
        after = first
        while after < len(labels) and labels[after].begin <= frame:
            after += 1
        own = [label for label in labels[first:after] if label.text not in (BOUNDARY, silence)]
        if own:
            words.append(join(word, own))
        first = after
    return words


def join(text: str, labels: Sequence[TimedText]) -> TimedText:
    """One word of its labels; its confidence is their geometric mean."""
    mean = sum(math.log(max(label.confidence, TINY)) for label in labels) / len(labels)
    return TimedText(text, labels[0].begin, labels[-1].end, math.exp(mean))


def log_softmax(emissions: Emissions) -> Emissions:
    """[T, V], computed in float64."""
    e = emissions.astype(np.float64)
    e -= e.max(-1, keepdims=True, initial=-np.inf) if e.size else 0.0
    normal: NDArray[np.float32] = (e - np.log(np.exp(e).sum(-1, keepdims=True))).astype(np.float32)
    return normal
