"""states ──acoustic model──▶ letters: the module of each kind of loss, by the name that checkpoints hold."""

from __future__ import annotations

from collections.abc import Callable

from .alignment import SequenceLoss
from .asg import ASG
from .ctc import CTC
from .runs import Runs

# of the number of columns and the blank's column
MODULES: dict[str, Callable[[int, int | None], SequenceLoss]] = {
    "ctc": lambda num_columns, blank: CTC(blank or 0),
    "asg": lambda num_columns, blank: ASG(num_columns),
    "wav2vec_u": lambda num_columns, blank: Runs(),
}


def make_sequence_loss(name: str, num_columns: int, blank: int | None = None) -> SequenceLoss:
    """An untrained loss over emissions of so many columns."""
    if name not in MODULES:
        raise ValueError(f"`loss` is {name!r}; expected one of {', '.join(MODULES)}")
    return MODULES[name](num_columns, blank)
