"""letters ──decoder──▶ text, tuned: LM weight, word score and silence score with the fewest errors.

Coarse to fine: points spread evenly over the ranges (a Halton sequence, shifted by the seed), then steps
from the best one along each weight, halved when none of them is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from .beam import BeamSettings
from .scoring import Score
from .trials import Trials, Weights

_BASES = (2, 3, 5)  # of Halton's sequence, one a weight
_DIGITS = 2  # of the weights: finer ones tell dev sets apart by chance
_FIRST_STEP = 1 / 6  # of a range
_LAST_STEP = 0.02


@dataclass(frozen=True)
class Range:
    """Where a weight is looked for; equal ends: it is fixed."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"{self.low:g} {self.high:g} is no range; expected two numbers, the lower first")

    @property
    def width(self) -> float:
        return self.high - self.low

    def nearest(self, value: float) -> float:
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Space:
    """The ranges of all weights. Steps may leave them where the best lies at an end."""

    lm_weight: Range = Range(0.0, 5.0)
    word_score: Range = Range(-4.0, 6.0)
    sil_score: Range = Range(-2.0, 2.0)

    def __post_init__(self) -> None:
        if self.lm_weight.low < 0:
            raise ValueError(f"the LM weight's range begins at {self.lm_weight.low:g}; expected 0 or more")

    @property
    def ranges(self) -> tuple[Range, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def free(self) -> list[int]:
        """The numbers of the weights that are looked for."""
        return [i for i, found in enumerate(self.ranges) if found.width]

    def without(self, *names: str) -> Space:
        """These weights fixed at 0, because nothing listens to them."""
        return replace(self, **dict.fromkeys(names, Range(0.0, 0.0)))

    def start(self, settings: BeamSettings) -> Weights:
        """The settings' own weights, as near as the ranges allow."""
        own = [getattr(settings, name) for name in Weights._fields]
        return Weights(*(found.nearest(value) for found, value in zip(self.ranges, own, strict=True)))


def spread(space: Space, number: int, seed: int) -> list[Weights]:
    """Points that fill the ranges evenly, however many are taken."""
    shifts = np.random.default_rng(seed).random(len(_BASES))
    points = []
    for n in range(1, number + 1):
        shares = [(_halton(n, base) + shift) % 1 for base, shift in zip(_BASES, shifts, strict=True)]
        values = [r.low + share * r.width for r, share in zip(space.ranges, shares, strict=True)]
        points.append(_rounded(values))
    return points


def neighbours(point: Weights, space: Space, share: float) -> list[Weights]:
    """A step of `share` of its range up and down along each weight; an LM weight is never below 0."""
    found = []
    for i in space.free:
        for sign in (1, -1):
            values = list(point)
            values[i] += sign * max(space.ranges[i].width * share, 10.0**-_DIGITS)
            values[0] = max(values[0], 0.0)
            found.append(_rounded(values))
    return [weights for weights in dict.fromkeys(found) if weights != point]


@dataclass(frozen=True)
class Effort:
    """How many points are spread, and how many rounds of steps follow at most."""

    points: int = 32
    rounds: int = 10

    def __post_init__(self) -> None:
        if self.points < 0 or self.rounds < 0 or self.points + self.rounds == 0:
            raise ValueError(
                f"`points` is {self.points}, `rounds` {self.rounds}; expected 0 or more, and not both 0"
            )


Say = Callable[[str, Weights, Score], None]


def tune(
    trials: Trials, space: Space, start: Weights, effort: Effort, seed: int, say: Say
) -> Sequence[tuple[Weights, Score]]:
    """The best points, the best first; `start` is always tried, so none is worse than it."""
    trials.run([start], "the start")
    say("the start", *trials.best()[0])
    trials.run(spread(space, effort.points, seed), f"{effort.points} points")
    best, score = trials.best()[0]
    say(f"{effort.points} points", best, score)
    share = _FIRST_STEP
    widest = max((space.ranges[i].width for i in space.free), default=0.0)
    for number in range(1, effort.rounds + 1):
        if share * widest < _LAST_STEP:
            break
        trials.run(neighbours(best, space, share), f"round {number}")
        found, reached = trials.best()[0]
        if reached.order < score.order:
            best, score = found, reached
        else:
            share /= 2
        say(f"round {number}", best, score)
    return trials.best()


def _rounded(values: Sequence[float]) -> Weights:
    return Weights(*(round(value, _DIGITS) + 0.0 for value in values))  # never -0.0


def _halton(number: int, base: int) -> float:
    value, share = 0.0, 1.0
    while number:
        share /= base
        number, digit = divmod(number, base)
        value += share * digit
    return value
