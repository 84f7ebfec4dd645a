"""How encoder and quantizer learn: telling frame t + k from negatives, given c_t (wav2vec §2.2, eq. 1).

Shapes: B batch, T frames, C channels, K future steps, N negatives. Steps stand furthest first wherever a
[K] axis appears, so that one strided view lines every prediction up with its target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Scores:
    """Each target frame's candidates under each step's prediction; candidate 0 is the positive."""

    scores: Tensor  # [B, T, K, 1 + N]
    valid: Tensor  # [T, K] bool: the prediction that this pair needs lies inside the utterance
    num_predictions: int  # valid pairs of the batch: what the loss is divided by


class StepPredictor(nn.Module):
    """h_k(c) = W_k c + b for every step k, the bias shared as in stock."""

    def __init__(self, dim_in: int, dim_out: int, steps: int, offset: int, dropout: float = 0.0) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"`prediction_steps` is {steps}; expected at least 1")
        if offset < 1:
            raise ValueError(f"`offset` is {offset}; expected at least 1 frame (or 'auto')")
        self.steps, self.offset = steps, offset
        self.weight = nn.Parameter(torch.empty(steps, dim_out, dim_in))  # [K, C, C_in]
        self.bias = nn.Parameter(torch.empty(dim_out))
        self.dropout = nn.Dropout(dropout)
        bound = 1 / math.sqrt(dim_out * steps)  # stock's transposed convolution counts its fan-in so
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, c: Tensor, targets: Tensor, negatives: Tensor) -> Scores:
        """c [B, T, C_in], targets [B, T, C], negatives [B, T, N]: rows of the flattened targets."""
        batch, frames, dim = targets.shape
        if frames <= self.offset:
            raise ValueError(
                f"{frames} frames hold no prediction {self.offset} frames ahead; leave such short clips out "
                "(`min_sample_size`)"
            )
        predictions = F.linear(c, self.weight.flatten(0, 1), self.bias.repeat(self.steps))
        predictions = self.dropout(predictions).unflatten(-1, (self.steps, dim))  # [B, T, K, C]
        aligned = _Skew.apply(predictions, self.offset)  # type: ignore[no-untyped-call]
        own = torch.arange(batch * frames, device=targets.device).view(batch, frames, 1)
        rows = torch.cat([own, negatives], -1)  # [B, T, 1 + N]
        candidates = F.embedding(rows, targets.reshape(-1, dim))  # [B, T, 1 + N, C]
        scores = torch.matmul(aligned, candidates.transpose(-1, -2))  # [B, T, K, 1 + N]
        per_utterance = sum(max(0, frames - self.offset - k) for k in range(self.steps))
        return Scores(scores, self._valid(frames, targets.device), batch * per_utterance)

    def _valid(self, frames: int, device: torch.device) -> Tensor:  # [T, K]
        target = torch.arange(frames, device=device).unsqueeze(1)
        ahead = self.offset + torch.arange(self.steps - 1, -1, -1, device=device)
        return target >= ahead


class _Skew(torch.autograd.Function):
    """From time of prediction to time of target: out[b, t, j] = in[b, t − offset − (K − 1 − j), j], or 0."""

    @staticmethod
    def forward(ctx: Any, predictions: Tensor, offset: int) -> Tensor:
        ctx.lead = offset + predictions.size(2) - 1
        padded = F.pad(predictions, (0, 0, 0, 0, ctx.lead, 0))
        return _diagonals(padded, predictions.size(1)).contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        batch, frames, steps, dim = grads[0].shape
        padded = grads[0].new_zeros(batch, ctx.lead + frames, steps, dim)
        _diagonals(padded, frames).copy_(grads[0])
        return padded[:, ctx.lead :], None


def _diagonals(padded: Tensor, frames: int) -> Tensor:
    """View out[b, t, j] = padded[b, t + j, j] of a contiguous [B, T + lead, K, C]."""
    batch, total, steps, dim = padded.shape
    strides = (total * steps * dim, steps * dim, (steps + 1) * dim, 1)
    return padded.as_strided((batch, frames, steps, dim), strides)


def contrastive_loss(scored: Scores, infonce: bool = False, balanced: bool = False) -> Tensor:
    """Summed over predictions: binary cross-entropy as in the paper, or cross-entropy over candidates."""
    scores = scored.scores if scored.scores.dtype == torch.float64 else scored.scores.float()
    valid = scored.valid.type_as(scores)  # [T, K]
    if infonce:
        nll = scores.logsumexp(-1) - scores[..., 0]  # [B, T, K]
        return (nll * valid).sum()
    positive = F.softplus(-scores[..., 0])  # [B, T, K]
    negative = F.softplus(scores[..., 1:]).sum(-1)  # [B, T, K]
    if balanced:
        negative = negative / (scores.size(-1) - 1)
    return ((positive + negative) * valid).sum()


def num_correct(scored: Scores) -> Tensor:
    """Predictions whose positive beats every negative; a tie, as in a collapse, is not a success."""
    scores = scored.scores.detach()
    return ((scores[..., :1] > scores[..., 1:]).all(-1) & scored.valid).sum()
