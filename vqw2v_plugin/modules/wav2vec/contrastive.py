"""How encoder and quantizer learn: telling frame t + k from negatives, given c_t (wav2vec §2.2, eq. 1).

Shapes: B batch, T frames, C channels, K future steps, N negatives. Steps stand furthest first wherever a
[K] axis appears, so that one strided view lines every prediction up with its target.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels import devices
from ..kernels.kept import kept

_Made = TypeVar("_Made")


def kept_on_gpus(make: Callable[..., _Made]) -> Callable[..., _Made]:
    """What is made for a device, their last setting: once for a GPU, where calls cost, else each time."""
    once = kept(8)(make)

    @wraps(make)
    def made(*settings: Any) -> _Made:
        return (make if settings[-1].type == "cpu" else once)(*settings)

    return made


@dataclass(frozen=True)
class Scores:
    """Each target frame's candidates under each step's prediction; candidate 0 is the positive."""

    scores: Tensor  # [B, T, K, 1 + N]
    valid: Tensor  # [T, K] bool: the prediction that this pair needs lies inside the utterance
    num_predictions: int  # valid pairs of the batch: what the loss is divided by


class StepPredictor(nn.Module):
    """h_k(c) = W_k c + b for every step k, the bias shared as in stock."""

    def __init__(
        self, dim_in: int, dim_out: int, steps: int, offset: int, dropout: float = 0.0, gain: float = 1.0
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"`prediction_steps` is {steps}; expected at least 1")
        if offset < 1:
            raise ValueError(f"`offset` is {offset}; expected at least 1 frame (or 'auto')")
        self.steps, self.offset = steps, offset
        self.weight = nn.Parameter(torch.empty(steps, dim_out, dim_in))  # [K, C, C_in]
        self.bias = nn.Parameter(torch.empty(dim_out))
        self.dropout = nn.Dropout(dropout)
        bound = gain / math.sqrt(dim_out * steps)  # stock's transposed convolution counts its fan-in so
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
        own = _places(batch, frames, targets.device)[0]
        rows = torch.cat([own, negatives], -1)  # [B, T, 1 + N]
        targets = targets.type_as(predictions)  # autocast has lowered one of them
        scores = _Score.apply(predictions, targets, rows, self.offset)  # type: ignore[no-untyped-call]
        per_utterance = sum(max(0, frames - self.offset - k) for k in range(self.steps))
        return Scores(scores, self._valid(frames, targets.device), batch * per_utterance)

    def _valid(self, frames: int, device: torch.device) -> Tensor:  # [T, K]
        return _valid_pairs(frames, self.steps, self.offset, device)


@kept_on_gpus
def _valid_pairs(frames: int, steps: int, offset: int, device: torch.device) -> Tensor:  # [T, K]
    target = torch.arange(frames, device=device).unsqueeze(1)
    ahead = offset + torch.arange(steps - 1, -1, -1, device=device)
    return target >= ahead


@kept_on_gpus
def _places(batch: int, frames: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of the flattened targets [B, T, 1], places in an utterance [T, 1], where each begins [B, 1, 1]."""
    rows = torch.arange(batch * frames, device=device).view(batch, frames, 1)
    return rows, rows[0], rows[:, :1]


class _Score(torch.autograd.Function):
    """scores[b, t, j, n] = predictions[b, t − offset − (K − 1 − j), j] · targets[rows[b, t, n]], or 0.

    One utterance at a time: copies of its predictions and candidates are all that is ever made. On a GPU,
    where calls cost more than copies, all of them at once.
    """

    @staticmethod
    def forward(ctx: Any, predictions: Tensor, targets: Tensor, rows: Tensor, offset: int) -> Tensor:
        batch, frames, steps, dim = predictions.shape
        flat = targets.reshape(-1, dim)  # [B·T, C]
        ctx.lead, ctx.frames, ctx.at_once = offset + steps - 1, frames, devices.is_gpu(predictions)
        if ctx.at_once:
            padded, stream = _streams(predictions, rows, ctx.lead)
            ctx.save_for_backward(padded, flat, stream)
            return _scores_at_once(padded, flat, stream, ctx.lead, frames)
        ctx.save_for_backward(predictions, flat, rows)
        scores = predictions.new_empty(batch, frames, steps, rows.size(-1))
        for b in range(batch):
            candidates = F.embedding(rows[b], flat)  # [T, 1 + N, C]
            scores[b] = torch.bmm(_aligned(predictions[b], ctx.lead), candidates.transpose(1, 2))
        return scores

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        predictions, flat, rows = ctx.saved_tensors
        grad = grads[0].type_as(predictions)  # autocast may have raised it
        if ctx.at_once:
            to_predictions, to_flat = _gradients_at_once(grad, predictions, flat, rows, ctx.lead)
            return to_predictions, to_flat.to(flat).view(len(grad), ctx.frames, -1), None, None
        batch, frames, steps, dim = predictions.shape
        to_predictions = torch.empty_like(predictions)
        to_flat = torch.zeros_like(flat, dtype=torch.promote_types(flat.dtype, torch.float32))
        padded = predictions.new_zeros(ctx.lead + frames, steps, dim)
        for b in range(batch):
            candidates = F.embedding(rows[b], flat)  # [T, 1 + N, C]
            _diagonals(padded, frames).copy_(torch.bmm(grad[b], candidates))
            to_predictions[b] = padded[ctx.lead :]
            aligned = _aligned(predictions[b], ctx.lead)
            to_candidates = torch.bmm(grad[b].transpose(1, 2), aligned)  # [T, 1 + N, C]
            to_flat.index_add_(0, rows[b].flatten(), to_candidates.flatten(0, 1).to(to_flat))
        return to_predictions, to_flat.to(flat).view(batch, frames, dim), None, None


def _aligned(predictions: Tensor, lead: int) -> Tensor:  # [T, K, C]
    """From time of prediction to time of target."""
    return _diagonals(F.pad(predictions, (0, 0, 0, 0, lead, 0)), predictions.size(0))


def _diagonals(padded: Tensor, frames: int) -> Tensor:
    """View out[t, j] = padded[t + j, j] of a contiguous [T + lead, K, C]."""
    _, steps, dim = padded.shape
    return padded.as_strided((frames, steps, dim), (steps * dim, (steps + 1) * dim, 1))


def _streams(predictions: Tensor, rows: Tensor, lead: int) -> tuple[Tensor, Tensor]:
    """All utterances as one, each behind `lead` frames of zeros: [n + lead, K, C], and rows [n, 1 + N].

    Between utterances are rows of no target, which are left out of what comes of them.
    """
    padded = F.pad(predictions, (0, 0, 0, 0, lead, 0)).flatten(0, 1)
    return padded, F.pad(rows, (0, 0, 0, lead)).flatten(0, 1)[: len(padded) - lead]


def _scores_at_once(padded: Tensor, flat: Tensor, stream: Tensor, lead: int, frames: int) -> Tensor:
    """[B, T, K, 1 + N] of what `_streams` gives."""
    size, steps = len(stream), padded.size(1)
    scores = padded.new_empty(len(padded), steps, stream.size(1))
    candidates = F.embedding(stream, flat)  # [n, 1 + N, C]
    torch.bmm(_diagonals(padded, size), candidates.transpose(1, 2), out=scores[:size])
    return scores.view(-1, lead + frames, steps, stream.size(1))[:, :frames].contiguous()


def _gradients_at_once(
    grad: Tensor, padded: Tensor, flat: Tensor, stream: Tensor, lead: int
) -> tuple[Tensor, Tensor]:
    """Of predictions [B, T, K, C], and of the flattened targets [B·T, C] in fp32."""
    batch, frames = grad.shape[:2]
    size = len(stream)
    grad = F.pad(grad, (0, 0, 0, 0, 0, lead)).flatten(0, 1)[:size]  # [n, K, 1 + N]
    to_padded = torch.zeros_like(padded)
    _diagonals(to_padded, size).copy_(torch.bmm(grad, F.embedding(stream, flat)))
    to_candidates = torch.bmm(grad.transpose(1, 2), _diagonals(padded, size)).flatten(0, 1)
    to_flat = torch.zeros_like(flat, dtype=torch.promote_types(flat.dtype, torch.float32))
    to_flat.index_add_(0, stream.flatten(), to_candidates.to(to_flat))
    return to_padded.view(batch, lead + frames, *padded.shape[1:])[:, lead:], to_flat


_NO_CLASS = -100


@kept_on_gpus
def _classes(valid: Tensor, batch: int, device: torch.device) -> Tensor:  # [T, K] → [B·T·K]
    """The positive's number where a prediction counts."""
    return torch.where(valid, 0, _NO_CLASS).expand(batch, *valid.shape).flatten()


def contrastive_loss(scored: Scores, infonce: bool = False, balanced: bool = False) -> Tensor:
    """Summed over predictions: binary cross-entropy as in the paper, or cross-entropy over candidates."""
    scores = scored.scores if scored.scores.dtype == torch.float64 else scored.scores.float()
    if infonce and devices.is_gpu(scores):
        classes = _classes(scored.valid, len(scores), scores.device)
        return F.cross_entropy(scores.flatten(0, 2), classes, ignore_index=_NO_CLASS, reduction="sum")
    return (_losses(scores, infonce, balanced) * scored.valid.type_as(scores)).sum()


def _losses(scores: Tensor, infonce: bool, balanced: bool) -> Tensor:  # [B, T, K]
    if infonce:
        return scores.logsumexp(-1) - scores[..., 0]
    positive = F.softplus(-scores[..., 0])  # [B, T, K]
    negative = F.softplus(scores[..., 1:]).sum(-1)  # [B, T, K]
    if balanced:
        negative = negative / (scores.size(-1) - 1)
    return positive + negative


def num_correct(scored: Scores) -> Tensor:
    """Predictions whose positive beats every negative; a tie, as in a collapse, is not a success."""
    return _right(scored).sum()


def _right(scored: Scores) -> Tensor:  # [B, T, K] bool
    scores = scored.scores.detach()
    return (scores[..., :1] > scores[..., 1:]).all(-1) & scored.valid


@torch.no_grad()
def sums_apart(scored: Scores, infonce: bool, balanced: bool) -> Tensor:  # [B, 3]
    """Each utterance's loss, and how many of its predictions are right, and how many there are."""
    valid = scored.valid.float()
    losses = (_losses(scored.scores.detach().float(), infonce, balanced) * valid).sum((1, 2))
    made = valid.sum().expand(len(losses))
    return torch.stack([losses, _right(scored).sum((1, 2)).float(), made], -1)


def sample_negatives(
    batch: int,
    frames: int,
    same: int,
    cross: int = 0,
    distance: int | None = None,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Rows of the flattened [B·T] targets: `same` from the own utterance, `cross` from the whole batch.

    Never the positive itself (stock's exclusion is laid out wrongly and lets 1 in T through).
    `distance` keeps those of the own utterance within so many frames of the positive.
    """
    if same < 0 or cross < 0 or same + cross == 0:
        raise ValueError(
            f"`num_negatives` is {same}, `cross_sample_negatives` {cross}; expected at least one negative"
        )
    if same and frames < 2:
        raise ValueError(
            f"utterances of {frames} frame hold no negative; leave such clips out (`min_sample_size`)"
        )
    if cross and batch * frames < 2:
        raise ValueError(f"a batch of {batch} × {frames} frames holds no negative; use larger batches")
    drawn = []
    rows, places, starts = _places(batch, frames, torch.device(device))
    if same and distance is None and devices.is_gpu(rows):
        own = torch.randint(1, frames, (batch, frames, same), device=device, generator=generator)
        drawn.append(own.add_(places).remainder_(frames).add_(starts))  # any frame but the positive
    elif same:
        low, count = _window(frames, distance, device)  # [T], [T]
        draw = _below(count.view(1, -1, 1).expand(batch, frames, same), generator)  # [B, T, N]
        own = low.view(1, -1, 1) + draw
        own = own + (own >= places)  # step over the positive
        drawn.append(own + starts)
    if cross:
        other = torch.randint(batch * frames - 1, (batch, frames, cross), device=device, generator=generator)
        drawn.append(other + (other >= rows))
    return drawn[0] if len(drawn) == 1 else torch.cat(drawn, -1)  # [B, T, same + cross]


def _window(frames: int, distance: int | None, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """For each positive the first frame allowed and how many there are beside the positive."""
    if distance is not None and distance < 1:
        raise ValueError(f"`sample_distance` is {distance}; expected at least 1 frame")
    reach = frames if distance is None else distance
    positive = torch.arange(frames, device=device)
    low = (positive - reach).clamp_min(0)
    high = (positive + reach).clamp_max(frames - 1)
    return low, high - low


def _below(bound: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform integers in [0, bound); 62 random bits make the modulo's bias less than 2⁻⁴⁰."""
    bits = torch.randint(2**62, bound.shape, device=bound.device, generator=generator)
    return bits % bound
