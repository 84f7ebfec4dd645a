"""How it learns: a masked frame's target is told from those of other masked frames (wav2vec 2.0 §3.2).

Shapes: K masked frames of a batch's utterances, one after the other, D distractors of each, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..kernels import devices
from ..kernels.kept import kept

_MOST_TOGETHER = 4_096  # masked frames: 64 MB of similarities
_ODD = 0x9E3779B97F4A7C15
_LEAST_NORM = 1e-8  # of a vector, as torch's cosine similarity has it


def similarities(
    predictions: Tensor,  # [K, C]
    targets: Tensor,  # [K, C]
    names: Tensor,  # [K], the same for targets that are
    distractors: Tensor,  # [K, D]
    counts: Sequence[int],
    temperature: float,
) -> Tensor:  # [K, 1 + D]
    """Cosines / κ of each prediction with its own target and its distractors.

    All of an utterance's with each other come from one product, which is less work than to copy each
    distractor's vector. A distractor that is the same as the target, as it may be among codes, is −∞.
    """
    own = torch.arange(len(targets), device=targets.device)[:, None]
    candidates = torch.cat([own, distractors], 1)  # [K, 1 + D]
    with torch.autocast(predictions.device.type, enabled=False):
        a, b = _directions(predictions), _directions(targets)
        rows, begin = [], 0
        together = _together(counts) if devices.is_gpu(a) else list(counts)
        of_each = (torch.split(each, together) for each in (a, b, candidates))
        for part, others, chosen in zip(*of_each, strict=True):
            rows.append((part @ others.T).gather(1, chosen - begin if begin else chosen))
            begin += len(part)
        scores = (torch.cat(rows) if len(rows) > 1 else rows[0]) / temperature  # [K, 1 + D]
    repeats = names[distractors] == names[:, None]  # [K, D]
    return scores.masked_fill(F.pad(repeats, (1, 0)), -math.inf)


def _together(counts: Sequence[int]) -> list[int]:
    """Utterances by one product, which is more than is asked for, where a call costs more than that."""
    found = [0]
    for count in counts:
        if found[-1] and found[-1] + count > _MOST_TOGETHER:
            found.append(0)
        found[-1] += count
    return found


def _directions(x: Tensor) -> Tensor:
    x = x if x.dtype == torch.float64 else x.float()
    norms: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / norms.clamp_min(_LEAST_NORM)


@torch.no_grad()
def names_of(vectors: Tensor) -> Tensor:  # [K, C] → [K]
    """A number for each: equal ones have the same, others another one, but for a chance of 2^-64."""
    exact = vectors.to(torch.float64) + 0.0  # −0 is 0
    bits = exact.contiguous().view(torch.int64)
    mixed = (bits ^ (bits >> 29)) * _factors(vectors.size(-1), vectors.device)
    return (mixed ^ (mixed >> 32)).sum(-1)


@kept(16)
def _factors(size: int, device: torch.device) -> Tensor:
    factors = [pow(_ODD, i + 1, 1 << 64) for i in range(size)]
    return torch.tensor([n - (1 << 64) if n >= 1 << 63 else n for n in factors], device=device)


def contrastive_loss(scores: Tensor) -> Tensor:  # [K, 1 + D]
    """Cross-entropy over a frame's candidates, summed."""
    return losses(scores).sum()


def losses(scores: Tensor) -> Tensor:  # [K, 1 + D] → [K]
    return scores.logsumexp(-1) - scores[:, 0]


def num_correct(scores: Tensor) -> Tensor:
    """Frames whose target is the nearest; to beat nobody, or to tie as in a collapse, is no success.

    Stock counts a frame whose distractors all equal its target as right.
    """
    return right(scores).sum()


def right(scores: Tensor) -> Tensor:  # [K, 1 + D] → [K] bool
    scores = scores.detach()
    best = scores[:, 1:].max(-1).values  # [K]
    return (scores[:, 0] > best) & best.isfinite()
