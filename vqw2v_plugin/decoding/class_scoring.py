"""states ──head──▶ class, judged: accuracy, unweighted average recall, and what is taken for what.

Shapes: N classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..common.words import aligned, one_line

_MOST_COLUMNS = 12  # of a table; with more classes the most frequent confusions are listed
_LISTED = 12


@dataclass(frozen=True)
class ClassCounts:
    """How many utterances of each class were answered with each."""

    names: tuple[str, ...]
    counts: npt.NDArray[np.int64]  # [N, N]: true, answered

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[str, str]]) -> ClassCounts:
        """Of (true, answered); the classes are those that are named."""
        found = Counter(pairs)
        names = tuple(sorted({name for pair in found for name in pair}))
        place = {name: i for i, name in enumerate(names)}
        counts = np.zeros((len(names), len(names)), np.int64)
        for (true, answered), count in found.items():
            counts[place[true], place[answered]] = count
        return cls(names, counts)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def correct(self) -> int:
        return int(self.counts.trace())

    @property
    def accuracy(self) -> float:
        """From 0 to 1; 0 of nothing."""
        return self.correct / max(1, self.total)

    @cached_property
    def recalls(self) -> dict[str, float]:
        """Of each class that utterances are of; of another there is none."""
        said = self.counts.sum(1)
        return {name: float(self.counts[i, i] / said[i]) for i, name in enumerate(self.names) if said[i]}

    @property
    def uar(self) -> float:
        """The mean of the recalls, each class as important as any other; 0 of nothing."""
        return sum(self.recalls.values()) / max(1, len(self.recalls))

    @property
    def majority(self) -> float:
        """The accuracy of whoever always answers with the most frequent class."""
        return float(self.counts.sum(1).max(initial=0)) / max(1, self.total)

    def describe(self) -> str:
        """One line, with what guessing would give."""
        return (
            f"accuracy {100 * self.accuracy:.2f} % ({100 * self.majority:.2f} by one answer to all), "
            f"unweighted average recall {100 * self.uar:.2f} % ({100 / max(1, len(self.recalls)):.2f} by "
            f"chance), {self.correct:,} of {self.total:,} utterances right, {len(self.recalls)} classes"
        )

    def confusions(self) -> list[tuple[str, str, int]]:
        """(true, answered, times), the most frequent first."""
        wrong = np.argwhere(self.counts * ~np.eye(len(self.names), dtype=bool))
        rows = [(self.names[i], self.names[j], int(self.counts[i, j])) for i, j in wrong.tolist()]
        return sorted(rows, key=lambda row: -row[2])

    def table(self) -> list[str]:
        """The classes that there are by the answers to them; of very many, what is confused most."""
        there = np.flatnonzero(self.counts.sum(0) + self.counts.sum(1))
        if len(there) > _MOST_COLUMNS:
            listed = [("class", "taken for", "times"), *self.confusions()[:_LISTED]]
            return aligned([[one_line(str(cell)) for cell in row] for row in listed], {2})
        names = [one_line(self.names[i]) for i in there]
        rows: list[Sequence[object]] = [("class", *names, "recall")]
        for i, name in zip(there, names, strict=True):
            recall = self.recalls.get(self.names[i])
            shown = "-" if recall is None else f"{100 * recall:.1f} %"
            rows.append((name, *self.counts[i, there].tolist(), shown))
        return aligned([list(map(str, row)) for row in rows], range(1, len(rows[0])))

    def summary(self) -> dict[str, Any]:
        """What a file holds, rates in percent."""
        said, answered = self.counts.sum(1), self.counts.sum(0)
        return {
            "accuracy": round(100 * self.accuracy, 4),
            "uar": round(100 * self.uar, 4),
            "majority": round(100 * self.majority, 4),
            "correct": self.correct,
            "utterances": self.total,
            "classes": [
                {
                    "class": name,
                    "utterances": int(said[i]),
                    "answered": int(answered[i]),
                    "recall": round(100 * self.recalls[name], 4) if name in self.recalls else None,
                }
                for i, name in enumerate(self.names)
            ],
            "confusions": [list(row) for row in self.confusions()],
        }
