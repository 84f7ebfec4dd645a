"""states ──acoustic model──▶ letters: what was learnt without labels says a label in each run of frames.

Shapes: B batch, T frames, V labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..layers.padding import padding
from . import alignment
from .alignment import NOTHING, Alignment, SequenceLoss, check_emissions


class Runs(SequenceLoss):
    """No loss of its own: an adversary is what such a model learns from."""

    def __init__(self) -> None:
        super().__init__()
        self.transitions = None

    def forward(
        self, emissions: Tensor, emission_lengths: Tensor, targets: Tensor, target_lengths: Tensor
    ) -> Tensor:
        raise ValueError("a wav2vec-U model learns without labels; train it with `--task vq_unpaired`")

    @torch.no_grad()
    def best_path(self, emissions: Tensor, emission_lengths: Tensor) -> Alignment:
        """The best label of every frame."""
        lengths = check_emissions(emissions, emission_lengths)
        best, labels = (
            emissions.to(torch.promote_types(emissions.dtype, torch.float32)).log_softmax(-1).max(-1)
        )
        behind = padding(lengths, emissions.size(1))
        scores = best.masked_fill(behind, 0.0).sum(1)
        return alignment.from_labels(labels.masked_fill(behind, NOTHING), scores)
