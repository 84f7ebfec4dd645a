"""states ──acoustic model──▶ letters: the auto segmentation criterion (wav2letter, arXiv 1609.03193 §2.2).

CTC without blanks, and with scores for the step from one label to the next. A path says each label for one
frame or more, so equal neighbours cannot be told apart: repetition symbols stand for them, as in `h e l 1 o`.
Shapes: B batch, T frames, V labels, L labels of a target.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..kernels import asg_paths, launching
from ..layers.padding import padding
from . import alignment, asg_scan
from .alignment import NOTHING, Alignment, SequenceLoss


class ASG(SequenceLoss):
    """−log p(target) with the model's own transitions."""

    transitions: nn.Parameter

    def __init__(self, num_labels: int, zero_infinity: bool = False) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(num_labels, num_labels))  # [V, V]: to, from
        self.zero_infinity = zero_infinity

    def forward(
        self, emissions: Tensor, emission_lengths: Tensor, targets: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """A loss an utterance [B], from unnormalized emissions [B, T, V] and targets [B, L]."""
        lengths = self._lengths(emissions, emission_lengths)
        targets, target_lengths = alignment.check_targets(emissions, targets, target_lengths)
        possible = self._possible(lengths, targets, target_lengths)
        loss: Tensor = _Loss.apply(  # type: ignore[no-untyped-call]
            *(emissions, self.transitions, lengths, targets, target_lengths, possible),
            torch.is_grad_enabled(),
        )
        return loss

    @torch.no_grad()
    def best_path(self, emissions: Tensor, emission_lengths: Tensor) -> Alignment:
        """The best labels by emissions and transitions; repetition symbols are labels among the others."""
        lengths = self._lengths(emissions, emission_lengths)
        e, transitions = emissions.double(), self.transitions.double()
        if launching.pays(e) and e.size(2) <= asg_paths.MOST_LABELS:
            path, total = asg_paths.best_path(asg_scan.finite(e), asg_scan.finite(transitions), lengths)
        else:
            path, total = _best_path(e, transitions, lengths)
        total = total.masked_fill(lengths == 0, 0.0)
        return alignment.from_labels(path.masked_fill(padding(lengths, e.size(1)), NOTHING), total)

    @torch.no_grad()
    def align(
        self, emissions: Tensor, emission_lengths: Tensor, targets: Tensor, target_lengths: Tensor
    ) -> Alignment:
        """The best path that says the target."""
        lengths = self._lengths(emissions, emission_lengths)
        targets, target_lengths = alignment.check_targets(emissions, targets, target_lengths)
        possible = self._possible(lengths, targets, target_lengths)
        transitions = self.transitions.double()
        e = emissions.double().gather(2, targets.unsqueeze(1).expand(-1, emissions.size(1), -1))  # [B, T, L]
        step = torch.zeros_like(e[:, 0])
        step[:, 1:] = transitions[targets[:, 1:], targets[:, :-1]]
        finals = (target_lengths - 1).clamp_min(0).unsqueeze(1)
        moves = [transitions[targets, targets], step]
        states, scores = alignment.best_states(e, moves, 1, finals, lengths)
        return alignment.from_states(states, targets, states, scores, lengths, possible)

    def _lengths(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        lengths = alignment.check_emissions(emissions, lengths)
        if emissions.size(2) != len(self.transitions):
            raise ValueError(
                f"`emissions` have {emissions.size(2)} labels; expected {len(self.transitions)}, like "
                "the transitions"
            )
        return lengths

    def _possible(self, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        """[B]: False where no path says the target, which is an error unless `zero_infinity`."""
        same = alignment.repeats(targets, target_lengths)
        if same.any():
            row, place = (int(i) for i in same.nonzero()[0])
            raise ValueError(
                f"utterance {row} of the batch has label {int(targets[row, place])} twice in a row, "
                f"at {place}, which ASG cannot tell from one held longer; pack it with `pack_repeats`"
            )
        if not self.zero_infinity:
            if (target_lengths == 0).any():
                row = int((target_lengths == 0).nonzero()[0])
                raise ValueError(
                    f"utterance {row} of the batch has no labels, and ASG no blank for its frames; label "
                    "it with the silence symbol, or set `zero_infinity` to count it as a loss of 0"
                )
            alignment.check_frames(lengths, target_lengths)
        return (target_lengths > 0) & (target_lengths <= lengths)


class _Loss(torch.autograd.Function):
    """Both sums and their gradients at once: the backward pass has only to scale them."""

    @staticmethod
    def forward(
        ctx: Any,
        emissions: Tensor,
        transitions: Tensor,
        lengths: Tensor,
        targets: Tensor,
        target_lengths: Tensor,
        possible: Tensor,
        learns: bool,
    ) -> Tensor:
        gradients = learns and any(ctx.needs_input_grad)  # which is so where nobody learns, too
        behind = padding(lengths, emissions.size(1)).unsqueeze(-1)
        with asg_scan.threads_for(emissions):
            e, g = asg_scan.finite(emissions).masked_fill(behind, 0.0), asg_scan.finite(transitions)
            full = asg_scan.all_paths(e, g, lengths, gradients)
            own = asg_scan.target_paths(e, g, lengths, targets, target_lengths, gradients)
        if full.gradients and own.gradients:
            keep = possible.view(-1, 1, 1)
            differences = [
                (a - b).where(keep, 0.0) for a, b in zip(full.gradients, own.gradients, strict=True)
            ]
            ctx.save_for_backward(differences[0].to(emissions.dtype), differences[1])
            ctx.dtype = transitions.dtype
        loss = (full.score - own.score).where(possible, 0.0)
        return loss.to(torch.promote_types(emissions.dtype, torch.float32))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        by_emission, by_transition = ctx.saved_tensors
        scale = grads[0].view(-1, 1, 1)
        transitions = (scale * by_transition).sum(0).to(ctx.dtype)
        return (scale * by_emission).to(by_emission.dtype), transitions, None, None, None, None, None


def _best_path(e: Tensor, transitions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:  # [B, T, V]
    """The best label at each frame [B, T], and its path's score [B]."""
    score, came = e[:, 0], []
    for t in range(1, e.size(1)):
        best, origin = (score.unsqueeze(1) + transitions).max(-1)  # [B, V]
        alive = (t < lengths).unsqueeze(1)
        score = torch.where(alive, best + e[:, t], score)
        came.append(torch.where(alive, origin, torch.arange(e.size(2), device=e.device)))
    total, label = score.max(-1, keepdim=True)
    labels = [label]
    for origin in reversed(came):
        label = origin.gather(1, label)
        labels.append(label)
    return torch.cat(labels[::-1], 1), total.squeeze(1)
