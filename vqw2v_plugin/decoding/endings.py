"""letters ──decoder──▶ text: spellings that end without a boundary, in flashlight's search over a lexicon.

That search holds a word's last column for one frame, then waits in its silence: right after a boundary,
wrong after a label. So a label x gets a second column x′, its last frame: `a b` is spelled `a b′`, for one
frame of b, and `a b b′`, for more. Its search over labels alone leaves ASG's transitions out, so there ASG's
labels are words for the other search.
Shapes: T frames, V columns, W = 2 V + 1 columns with the endings and a silence that is never said.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np

from .hypothesis import Emissions, Transitions

NEVER = -1e4  # finite, unlike what flashlight would multiply by weights


def with_endings(columns: Sequence[int], size: int) -> list[list[int]]:
    """A spelling whose last label has one frame, and one where it has more."""
    last = columns[-1] + size
    return [[*columns[:-1], last], [*columns, last]]


def without_endings(path: Sequence[int], size: int) -> list[int]:
    """The path [T] of the model's own columns."""
    return [column - size if column >= size else column for column in path]


def is_spelled(
    path: Sequence[int],
    words: Sequence[int],
    ways: Mapping[int, Container[tuple[int, ...]]],
    size: int,
    blank: int,
) -> bool:
    """Whether CTC reads a path [T] as the words [T] that end in its frames; elsewhere words are -1.

    The search knows x and x′ for two columns: it takes `x _ x′` for one x held, and `x′ x` for two.
    """
    said: list[int] = []
    before = blank
    for column, word in zip(without_endings(path, size), words, strict=True):
        if column not in (blank, before):
            said.append(column)
        before = column
        if word >= 0:
            if tuple(said) not in ways[word]:
                return False
            said = []
    return True


def widen_emissions(emissions: Emissions) -> Emissions:
    """[T, V] to [T, W]: an ending sounds like its label."""
    never = np.full((len(emissions), 1), NEVER, np.float32)
    return np.ascontiguousarray(np.concatenate([emissions, emissions, never], 1))


def widen_transitions(transitions: Transitions) -> Transitions:
    """[V, V] to [W, W] (to, from): behind x′ comes any label but x, which would be x held on."""
    size = len(transitions)
    left = transitions.copy()
    np.fill_diagonal(left, NEVER)
    wide = np.full((2 * size + 1, 2 * size + 1), NEVER, np.float32)
    wide[: 2 * size, : 2 * size] = np.block([[transitions, left], [transitions, left]])
    return wide
