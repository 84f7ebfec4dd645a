"""letters ──decoder──▶ text, tuned: LM weight, word score and silence score with the fewest errors.

Coarse to fine: points spread evenly over the ranges (a Halton sequence, shifted by the seed), then steps
from the best one along each weight, halved when none of them is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .scoring import ErrorScore
from .settings import Effort, Space, Weights
from .trials import Trials

_BASES = (2, 3, 5)  # of Halton's sequence, one a weight
_DIGITS = 2  # of the weights: finer ones tell dev sets apart by chance
_FIRST_STEP = 1 / 6  # of a range
_LAST_STEP = 0.02


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


Say = Callable[[str, Weights, ErrorScore], None]


def tune(
    trials: Trials, space: Space, start: Weights, effort: Effort, say: Say
) -> Sequence[tuple[Weights, ErrorScore]]:
    """The best points, the best first; `start` is always tried, so none is worse than it."""
    trials.run([start], "the start")
    say("the start", *trials.best()[0])
    trials.run(spread(space, effort.points, effort.seed), f"{effort.points} points")
    best, score = trials.best()[0]
    say(f"{effort.points} points", best, score)
    if effort.points and trials.are_alike(score):
        say("nothing changes with the weights", best, score)
        return trials.best()
    share = _FIRST_STEP
    widest = max((space.ranges[i].width for i in space.free), default=0.0)
    for number in range(1, effort.rounds + 1):
        if share * widest < _LAST_STEP:
            break
        trials.run(neighbours(best, space, share), f"round {number}")
        found, reached = trials.best()[0]
        if trials.are_alike(score, neighbours(best, space, share)):
            say(f"round {number}: nothing changes any more", best, score)
            break
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
