"""letters ──decoder──▶ text: when words sound, where a model with a blank says labels after they sound.

CTC says a label in a frame or two near the end of its sound and the blank elsewhere. So a word ends where
its last label is said, and begins two labels' distance before its first is, but not before the word or the
silence in front of it has ended.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from ..text.units import BOUNDARY
from .hypothesis import TimedText

_LEAD = 2.0  # distances between the labels of a word


def as_heard(words: Sequence[TimedText], labels: Sequence[TimedText]) -> list[TimedText]:
    """The words from where they begin to sound to where they end; `labels` are what the path says."""
    sounds = [label for label in labels if label.text != BOUNDARY]
    own = [[label for label in sounds if word.begin <= label.begin < word.end] for word in words]
    gaps = [after.begin - before.begin for said in own for before, after in pairwise(said)]
    lead = max(1, round(_LEAD * statistics.median(gaps))) if gaps else 1
    heard, free = [], 0
    for word, said in zip(words, own, strict=True):
        between = [label.end for label in sounds if free < label.end <= word.begin]
        silences = [end for end in between if not any(each.begin < end <= each.end for each in words)]
        begin = max(word.begin - lead, min(max([free, *silences]), word.begin))
        last = said[-1].begin if said else word.end
        heard.append(replace(word, begin=begin, end=max(last, begin + 1)))
        free = heard[-1].end
    return heard
