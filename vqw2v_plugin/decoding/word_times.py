"""letters ──decoder──▶ text: when words sound, which is not when their labels are said.

CTC says a label in a frame or two near the end of its sound and the blank elsewhere. So a word ends where
its last label is said, and begins two labels' distance before its first is, but not before the word or the
silence in front of it has ended.

ASG has no blank: it says a word's labels one after the other somewhere in the word, and the boundary between
words until then. So a boundary's frames are the word's before it for nearly half of them, then the next
word's, or a pause's where there are many.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from ..text.units import BOUNDARY, Units
from .hypothesis import TimedText

_LEAD = 2.0  # distances between the labels of a word
# Seconds, of a model without a blank: by the true times of toy voices and of strings of digits.
_BEFORE = 0.08  # a word begins so long before its first label, at most
_BEHIND, _BEHIND_LAST = 0.3, 0.2  # it ends so long after its last label, at most


def heard_words(
    words: list[TimedText], labels: Sequence[TimedText], units: Units, frames: int, seconds: float | None
) -> list[TimedText]:
    """The words of `labels` when they sound; without `seconds` a frame, those of CTC alone are known."""
    if units.loss.has_blank:
        return as_heard(words, labels)
    return words if seconds is None else between_labels(words, labels, frames, seconds)


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


def between_labels(
    words: Sequence[TimedText], labels: Sequence[TimedText], frames: int, frame_seconds: float
) -> list[TimedText]:
    """The same of a model without a blank, which says boundaries where nothing else is said."""
    before, behind, last = (round(each / frame_seconds) for each in (_BEFORE, _BEHIND, _BEHIND_LAST))
    heard = list(words)
    for i in range(len(words) + 1):
        first = words[i - 1].end if i else 0
        after = words[i].begin if i < len(words) else frames
        others = [x for x in labels if x.text != BOUNDARY and first <= x.begin and x.end <= after]
        middle = max(first, (first + after) // 2 - 1)  # labels are a frame late
        pause = (others[0].begin, others[-1].end) if others else (middle, middle)
        if i == 0:
            pause = (first, others[-1].end if others else first)
        elif i == len(words):
            pause = (others[0].begin if others else after, after)
        if i:
            most = behind if i < len(words) else last
            heard[i - 1] = replace(heard[i - 1], end=min(pause[0], first + most))
        if i < len(words):
            heard[i] = replace(heard[i], begin=max(pause[1], after - before))
    return heard
