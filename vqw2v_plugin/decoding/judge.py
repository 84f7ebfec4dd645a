"""text, judged against a transcript: what of a hypothesis is counted, in words, characters or phones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .errors import UNITS, Errors, characters, count_errors
from .hypothesis import Hypothesis
from .phones import FOLDS
from .units import BOUNDARY, Units


@dataclass(frozen=True)
class Score:
    """Errors in the unit asked for; those in characters tell points with equally many apart."""

    errors: Errors = field(default_factory=Errors)
    finer: Errors = field(default_factory=Errors)

    def __add__(self, other: Score) -> Score:
        return Score(self.errors + other.errors, self.finer + other.finer)

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

    def __call__(self, reference: str, hypothesis: Hypothesis) -> Score:
        """What one utterance has of errors."""
        if self.unit == "phones":
            return Score(count_errors(reference.split(), self._phones(hypothesis.labels).split()))
        letters = count_errors(characters(reference), characters(hypothesis.text))
        if self.unit == "characters":
            return Score(letters)
        return Score(count_errors(reference.split(), hypothesis.text.split()), letters)

    def _phones(self, labels: Sequence[str]) -> str:
        return " ".join(FOLDS[self.fold](label for label in labels if label != BOUNDARY))
