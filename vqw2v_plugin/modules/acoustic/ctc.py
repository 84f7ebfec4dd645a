"""states ──acoustic model──▶ letters: connectionist temporal classification (Graves et al. 2006).

Shapes: B batch, T frames, V labels with the blank, L labels of a target, S = 2 L + 1 states: labels and
the blanks between and around them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers.padding import padding
from . import alignment
from .alignment import NOTHING, Alignment, SequenceLoss


class CTC(SequenceLoss):
    """−log p(target) by torch's own loss; blanks alone say an empty target."""

    def __init__(self, blank: int = 0, zero_infinity: bool = False) -> None:
        super().__init__()
        self.blank, self.zero_infinity = blank, zero_infinity
        self.transitions = None

    def forward(
        self, emissions: Tensor, emission_lengths: Tensor, targets: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """A loss an utterance [B], from unnormalized emissions [B, T, V] and targets [B, L]."""
        log_probs, lengths = self._log_probs(emissions, emission_lengths)
        targets, target_lengths = self._targets(emissions, targets, target_lengths)
        possible = self._possible(lengths, targets, target_lengths)
        loss = F.ctc_loss(
            log_probs.transpose(0, 1),
            targets,
            lengths,
            target_lengths.where(possible, 0),  # torch's gradient where no path exists is not a number
            self.blank,
            reduction="none",
        )
        return loss.where(possible, 0.0)

    @torch.no_grad()
    def best_path(self, emissions: Tensor, emission_lengths: Tensor) -> Alignment:
        """The best label of every frame, blanks among them."""
        log_probs, lengths = self._log_probs(emissions, emission_lengths)
        best, labels = log_probs.max(-1)  # [B, T]
        behind = padding(lengths, emissions.size(1))
        scores = best.masked_fill(behind, 0.0).sum(1)
        return alignment.from_labels(labels.masked_fill(behind, NOTHING), scores, self.blank)

    @torch.no_grad()
    def align(
        self, emissions: Tensor, emission_lengths: Tensor, targets: Tensor, target_lengths: Tensor
    ) -> Alignment:
        """The best path that says the target."""
        log_probs, lengths = self._log_probs(emissions, emission_lengths)
        targets, target_lengths = self._targets(emissions, targets, target_lengths)
        possible = self._possible(lengths, targets, target_lengths)
        labels = F.pad(
            torch.stack([torch.full_like(targets, self.blank), targets], 2).flatten(1),
            (0, 1),
            value=self.blank,
        )
        e = log_probs.double().gather(2, labels.unsqueeze(1).expand(-1, log_probs.size(1), -1))  # [B, T, S]
        free = torch.zeros_like(e[:, 0])  # [B, S]
        skip = torch.full_like(free, -torch.inf)  # over the blank between two labels that differ
        skip[:, 3::2] = torch.where(targets[:, 1:] == targets[:, :-1], -torch.inf, 0.0)
        finals = torch.stack([2 * target_lengths, (2 * target_lengths - 1).clamp_min(0)], 1)
        states, scores = alignment.best_states(e, [free, free, skip], 2, finals, lengths)
        positions = torch.where(states % 2 == 1, states // 2, NOTHING)
        return alignment.from_states(states, labels, positions, scores, lengths, possible)

    def _log_probs(self, emissions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, V] in float32 at least; what stands behind the end, be it not a number, reaches nothing."""
        lengths = alignment.check_emissions(emissions, lengths)
        if not 0 <= self.blank < emissions.size(2):
            raise ValueError(f"`blank` is {self.blank}; expected 0 to {emissions.size(2) - 1}")
        kept = emissions.masked_fill(padding(lengths, emissions.size(1)).unsqueeze(-1), 0.0)
        return kept.to(torch.promote_types(kept.dtype, torch.float32)).log_softmax(-1), lengths

    def _targets(self, emissions: Tensor, targets: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        targets, lengths = alignment.check_targets(emissions, targets, lengths)
        inside = ~padding(lengths, targets.size(1))
        if (blanks := (targets == self.blank) & inside).any():
            row = int(blanks.nonzero()[0, 0])
            raise ValueError(
                f"utterance {row} of the batch has the blank ({self.blank}) among its labels; leave it "
                "out of the targets"
            )
        return targets, lengths

    def _possible(self, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        """[B]: False where no path says the target, which is an error unless `zero_infinity`."""
        needed = target_lengths + alignment.repeats(targets, target_lengths).sum(1)
        if not self.zero_infinity:
            alignment.check_frames(lengths, needed)
        return needed <= lengths
