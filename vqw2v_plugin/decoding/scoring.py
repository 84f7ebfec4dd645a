"""text, judged: word, character and phone error rates, with what was substituted, deleted and inserted.

Shapes: N items of the reference, M of the hypothesis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..text.phones import FOLDS
from ..text.units import UNSPOKEN, Units
from .hypothesis import Hypothesis

Item = TypeVar("Item", bound=Hashable)
UNITS = {"words": "WER", "characters": "CER", "phones": "PER"}


@dataclass(frozen=True)
class Pair(Generic[Item]):
    """An item of the reference beside one of the hypothesis; None where the other stands alone."""

    reference: Item | None
    hypothesis: Item | None


@dataclass(frozen=True)
class Errors:
    """Counts over utterances; they add up."""

    correct: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    utterances: int = 0
    wrong_utterances: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.correct + other.correct,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.utterances + other.utterances,
            self.wrong_utterances + other.wrong_utterances,
        )

    @property
    def length(self) -> int:
        """Items of the reference."""
        return self.correct + self.substitutions + self.deletions

    @property
    def total(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors in percent of the reference, which may be more than 100; without a reference each is 100."""
        return 100.0 * self.total / max(self.length, 1)

    def describe(self, unit: str = "words") -> str:
        """One line with everything counted."""
        wrong = f"{self.wrong_utterances:,} of {self.utterances:,} utterances wrong"
        return (
            f"{UNITS[unit]} {self.rate:.2f} % ({self.total:,} errors in {self.length:,} {unit}: "
            f"{self.substitutions:,} substituted, {self.deletions:,} deleted, {self.insertions:,} inserted; "
            f"{wrong})"
        )


def align(reference: Sequence[Item], hypothesis: Sequence[Item]) -> list[Pair[Item]]:
    """The pairs of an alignment with the fewest errors and, of those, the most that is correct."""
    costs = _costs(reference, hypothesis)
    n, m = len(reference), len(hypothesis)
    pairs: list[Pair[Item]] = []
    while n or m:
        here = costs[n, m]
        if n and m and here == costs[n - 1, m - 1] + _cost(reference[n - 1] == hypothesis[m - 1], len(costs)):
            n, m = n - 1, m - 1
            pairs.append(Pair(reference[n], hypothesis[m]))
        elif m and here == costs[n, m - 1] + _scale(len(costs)):
            m -= 1
            pairs.append(Pair(None, hypothesis[m]))
        else:
            n -= 1
            pairs.append(Pair(reference[n], None))
    return pairs[::-1]


def _scale(rows: int) -> int:
    """What an error costs where something correct gains 1: more than all that can be correct."""
    return rows + 1


def _cost(is_correct: bool, rows: int) -> int:
    return -1 if is_correct else _scale(rows)


def _costs(reference: Sequence[Item], hypothesis: Sequence[Item]) -> NDArray[np.int64]:
    """[N + 1, M + 1]: the least cost of each beginning of the one against each of the other."""
    index: dict[Item, int] = {}
    hyp = np.array([index.setdefault(item, len(index)) for item in hypothesis], np.int64)
    costs = np.empty((len(reference) + 1, len(hyp) + 1), np.int64)
    scale = _scale(len(costs))
    inserted = scale * np.arange(len(hyp) + 1)
    costs[0] = inserted
    for n, item in enumerate(reference, 1):
        same = hyp == index.get(item, -1)
        row = costs[n - 1] + scale
        np.minimum(row[1:], costs[n - 1, :-1] + np.where(same, -1, scale), out=row[1:])
        # A run of insertions behind any of these: the least of (cost − what would be inserted before it).
        costs[n] = np.minimum.accumulate(row - inserted) + inserted
    return costs


def count(pairs: Sequence[Pair[Item]]) -> Errors:
    """What one utterance's alignment counts."""
    correct = sum(pair.reference == pair.hypothesis for pair in pairs)
    deletions = sum(pair.hypothesis is None for pair in pairs)
    insertions = sum(pair.reference is None for pair in pairs)
    substitutions = len(pairs) - correct - deletions - insertions
    return Errors(correct, substitutions, deletions, insertions, 1, int(len(pairs) > correct))


def count_errors(reference: Sequence[Item], hypothesis: Sequence[Item]) -> Errors:
    """The errors of one utterance."""
    return count(align(reference, hypothesis))


class Confusions:
    """How often each item was taken for which other, left out, or put in."""

    def __init__(self) -> None:
        self._pairs: Counter[Pair[str]] = Counter()

    def add(self, pairs: Sequence[Pair[str]]) -> None:
        """One utterance's alignment."""
        self._pairs.update(pair for pair in pairs if pair.reference != pair.hypothesis)

    def most_frequent(self, number: int) -> dict[str, list[list[Any]]]:
        """The first of each sort, with their counts behind them."""
        found: dict[str, list[list[Any]]] = {"substituted": [], "deleted": [], "inserted": []}
        for pair, times in sorted(self._pairs.items(), key=_by_count):
            reference, hypothesis = pair.reference, pair.hypothesis
            if reference is None:
                found["inserted"].append([hypothesis, times])
            elif hypothesis is None:
                found["deleted"].append([reference, times])
            else:
                found["substituted"].append([reference, hypothesis, times])
        return {sort: rows[:number] for sort, rows in found.items()}


def _by_count(item: tuple[Pair[str], int]) -> tuple[int, str, str]:
    pair, times = item
    return -times, pair.reference or "", pair.hypothesis or ""


def summary(errors: Errors, confusions: Confusions, unit: str, number: int = 20) -> dict[str, Any]:
    """All that was counted, for a json file."""
    rate = {"unit": unit, "name": UNITS[unit], "rate": round(errors.rate, 4)}
    counts = {**asdict(errors), "errors": errors.total, "reference_length": errors.length}
    return {**rate, **counts, "most_frequent": confusions.most_frequent(number)}


def characters(text: str) -> list[str]:
    """Text as CER counts it: every character, and one space between words."""
    return list(" ".join(text.split()))


def show_alignment(pairs: Sequence[Pair[str]]) -> str:
    """Three lines: reference, hypothesis, and S, D or I below each error."""
    lines: list[list[str]] = [["REF:"], ["HYP:"], ["    "]]
    for pair in pairs:
        reference, hypothesis = pair.reference, pair.hypothesis
        if reference is None or hypothesis is None:
            blank = "*" * len(reference or hypothesis or "")
            shown = [reference or blank, hypothesis or blank, "D" if hypothesis is None else "I"]
        else:
            shown = [reference, hypothesis, "" if reference == hypothesis else "S"]
        width = max(map(len, shown))
        for line, text in zip(lines, shown, strict=True):
            line.append(text.ljust(width))
    return "\n".join(" ".join(line).rstrip() for line in lines)


@dataclass(frozen=True)
class ErrorScore:
    """Errors in the unit asked for; those in characters tell points with equally many apart."""

    errors: Errors = field(default_factory=Errors)
    finer: Errors = field(default_factory=Errors)

    def __add__(self, other: ErrorScore) -> ErrorScore:
        return ErrorScore(self.errors + other.errors, self.finer + other.finer)

    @property
    def order(self) -> tuple[int, int]:
        """Less is better."""
        return self.errors.total, self.finer.total


@dataclass(frozen=True)
class Judge:
    """Counts `unit`; phones of both sides are folded first."""

    unit: str = "words"
    fold: str = "none"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"`error_unit` is {self.unit!r}; expected one of {', '.join(UNITS)}")
        if self.fold not in FOLDS:
            raise ValueError(f"`error_fold` is {self.fold!r}; expected one of {', '.join(FOLDS)}")
        if self.fold != "none" and self.unit != "phones":
            raise ValueError(f"`error_fold` is {self.fold!r}, but {self.unit} are counted; it folds phones")

    def reference(self, labels: Sequence[str], words: str | None, units: Units) -> str:
        """A transcript as this judge wants it; without words they are made of the labels."""
        if self.unit == "phones":
            return self._phones(labels)
        return " ".join(units.words(labels)) if words is None else words

    def __call__(self, reference: str, hypothesis: Hypothesis) -> ErrorScore:
        """What one utterance has of errors."""
        if self.unit == "phones":
            return ErrorScore(count_errors(reference.split(), self._phones(hypothesis.labels).split()))
        letters = count_errors(characters(reference), characters(hypothesis.text))
        if self.unit == "characters":
            return ErrorScore(letters)
        return ErrorScore(count_errors(reference.split(), hypothesis.text.split()), letters)

    def _phones(self, labels: Sequence[str]) -> str:
        return " ".join(FOLDS[self.fold](label for label in labels if label not in UNSPOKEN))
