"""states ──acoustic model──▶ letters on a GPU: ASG's sums over paths by kernels that scan whole utterances.

Shapes: B batch, T frames, V labels, L labels of a target. All is float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import launching

MOST_LABELS = 128  # whose steps [V, V] a block holds; with thousands, as of pieces, it is none that compiles
_PARTS = 32  # of an utterance, each of which sums what steps are expected


def all_paths(
    emissions: Tensor, transitions: Tensor, lengths: Tensor, gradients: bool
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """The log sum over every path [B]; how often each label [B, T, V] and each step [B, V, V] is expected.

    Of `MOST_LABELS` at most.
    """
    batch, frames, size = emissions.shape
    emissions, transitions = emissions.contiguous(), transitions.contiguous()
    sums, score = emissions.new_empty(2, *emissions.shape), emissions.new_empty(batch)
    block = {"V2": launching.power_of_two(size)}
    given = (emissions, transitions, lengths, sums, score)
    grid = (2 if gradients else 1, batch)
    launching.launch("asg.all_paths", grid, *given, frames, size, batch, **block)
    if not gradients:
        return score, None
    labels, steps = torch.zeros_like(emissions), emissions.new_empty(batch, _PARTS, size, size)
    sizes = (frames, size, batch, _PARTS, -(-frames // _PARTS))
    launching.launch("asg.expected", (_PARTS, batch), *given, labels, steps, *sizes, **block)
    return score, (labels, steps.sum(1))


def best_path(emissions: Tensor, transitions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The best label at each frame [B, T], any behind an utterance's end, and its path's score [B].

    Of `MOST_LABELS` at most.
    """
    batch, frames, size = emissions.shape
    path = torch.zeros(batch, frames, dtype=torch.int32, device=emissions.device)
    came, score = path.new_empty(batch, frames, size), emissions.new_empty(batch)
    given = (emissions.contiguous(), transitions.contiguous(), lengths, came, path, score)
    launching.launch("asg.best_path", (batch,), *given, frames, size, V2=launching.power_of_two(size))
    return path.long(), score


def target_paths(
    emissions: Tensor, stay: Tensor, step: Tensor, lengths: Tensor, last: Tensor, gradients: bool
) -> tuple[Tensor, Tensor | None]:
    """The log sum [B] over the paths that say a target; how often each of its places is expected [B, T, L].

    `emissions` [B, T, L] are of the target's labels, `stay` [B, L] and `step` [B, L - 1] their transitions;
    `last` [B] is each target's last place.
    """
    batch, frames, size = emissions.shape
    e = emissions + stay.unsqueeze(1)
    sums = torch.full((2, *e.shape), -1e30, dtype=e.dtype, device=e.device)
    beside = step.new_zeros(2, batch, size)
    beside[0, :, 1:] = step
    beside[1, :, :-1] = step
    grid, block = (2 if gradients else 1, batch), {"L2": launching.power_of_two(size)}
    given = (e, stay.contiguous(), beside - stay, lengths, last, sums)
    launching.launch("asg.target_paths", grid, *given, frames, size, batch, **block)
    rows = torch.arange(batch, device=e.device)
    score = sums[0, rows, (lengths - 1).clamp_min(0), last]
    if not gradients:
        return score, None
    return score, (sums[0] + sums[1] - e + (stay - score.unsqueeze(-1)).unsqueeze(1)).exp_()
