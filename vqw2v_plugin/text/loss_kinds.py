"""states ──acoustic model──▶ letters: the kinds of loss, and what each makes of a transcript.

A new one is an entry here, a module in `modules/acoustic/losses.py`, and a criterion that fairseq registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class LossKind:
    """What units, decoders and data sets must know of a loss; nobody asks for it by name."""

    name: str  # in checkpoints
    title: str  # in messages
    criterion: str  # fairseq's `--criterion`
    has_blank: bool  # a column that says nothing, and tells equal neighbours apart
    has_transitions: bool  # scores from column to column, without which emissions are not to be read
    has_repeats: bool  # columns that repeat the label before them, for equal neighbours
    starts_with_boundary: bool  # so does every transcript, where there is a boundary
    search: str  # flashlight's `CriterionType`
    frames_needed: Callable[[Sequence[int]], int]  # by the columns of a target, at least


def _one_a_column(columns: Sequence[int]) -> int:
    return len(columns)


def _one_a_column_and_between_equal_ones(columns: Sequence[int]) -> int:
    return len(columns) + sum(a == b for a, b in pairwise(columns))


LOSS_KINDS = {
    kind.name: kind
    for kind in (
        LossKind(
            name="ctc",
            title="CTC",
            criterion="vq_ctc",
            has_blank=True,
            has_transitions=False,
            has_repeats=False,
            starts_with_boundary=False,
            search="CTC",
            frames_needed=_one_a_column_and_between_equal_ones,
        ),
        LossKind(
            name="asg",
            title="ASG",
            criterion="asg",
            has_blank=False,
            has_transitions=True,
            has_repeats=True,
            starts_with_boundary=True,
            search="ASG",
            frames_needed=_one_a_column,
        ),
        # learnt without labels: a run of frames is a phone
        LossKind(
            name="wav2vec_u",
            title="wav2vec-U",
            criterion="vq_adversarial",
            has_blank=False,
            has_transitions=False,
            has_repeats=False,
            starts_with_boundary=False,
            search="ASG",
            frames_needed=_one_a_column,
        ),
    )
}


def loss_kind(name: str) -> LossKind:
    """The kind that a checkpoint names."""
    if not isinstance(name, str) or name not in LOSS_KINDS:
        raise ValueError(f"`loss` is {name!r}; expected one of {', '.join(LOSS_KINDS)}")
    return LOSS_KINDS[name]
