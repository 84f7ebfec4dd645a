"""phones ──adversary──▶ losses: by what generator and adversary learn (arXiv 2105.11084, 2204.02492).

Each is summed over the batch. Labels are fairseq's: generated is 1, text is 0.
Shapes: B batch, T frames, V columns, C clusters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers.padding import padding

GENERATED, TEXT = 1.0, 0.0
_TINY = 1e-7  # in a logarithm
Judge = Callable[[Tensor, Tensor | None], Tensor]


def taken_for(scores: Tensor, what: float) -> Tensor:
    """Cross entropy of an adversary's scores [B], were all of them `what`."""
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, what), reduction="sum")


def gradient_penalty(
    judge: Judge, text: Tensor, generated: Tensor, share: Tensor, lengths: Tensor | None = None
) -> Tensor:
    """How far from 1 the gradient's norm over time is, summed over columns: [B, T, V] twice, [B] → [].

    `share`: of text in the mixture of both. With `lengths` [B] only frames that both have count.
    """
    share = share.view(-1, 1, 1)
    mixed = (share * text + (1 - share) * generated).detach().requires_grad_()
    with torch.enable_grad():
        scores = judge(mixed, lengths)
        (gradient,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
    off: Tensor = (gradient.norm(2, dim=1) - 1).square()  # [B, V]
    return off.sum() if lengths is None else off[lengths > 0].sum()


def common_part(
    text: Tensor,
    text_lengths: Tensor,
    generated: Tensor,
    lengths: Tensor,
    at_random: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As many frames of each as the shorter tensor has, the first ones or any; and how many are of both."""
    size = min(text.size(1), generated.size(1))
    parts, held = [], []
    for x, counts in ((text, text_lengths), (generated, lengths)):
        spare = x.size(1) - size
        start = int(torch.randint(spare + 1, (), generator=generator)) if at_random and spare else 0
        parts.append(x[:, start : start + size])
        held.append((counts - start).clamp(0, size))
    return parts[0], parts[1], torch.minimum(*held)


def usage(probabilities: Tensor) -> Tensor:
    """Perplexity of the mean of distributions [N, V]: how many columns are in use."""
    mean = _wide(probabilities).mean(0)
    return torch.exp(-(mean * torch.log(mean + _TINY)).sum())


def diversity(probabilities: Tensor) -> Tensor:
    """Share of the columns that are not in use."""
    size = probabilities.size(-1)
    return (size - usage(probabilities)) / size


def smoothness(logits: Tensor, lengths: Tensor, padding_counts: bool = False) -> Tensor:
    """Mean squared step between neighbouring frames [B, T, V]."""
    if logits.size(1) < 2:
        return logits.sum() * 0.0
    steps = (logits[:, 1:] - logits[:, :-1]).square()
    behind = padding(lengths, logits.size(1))[:, 1:]
    total = steps.masked_fill(behind.unsqueeze(2), 0.0).sum()
    count = behind.numel() if padding_counts else (~behind).sum().clamp_min(1)
    return total / (count * logits.size(2))


def clusters(scores: Tensor, targets: Tensor, padding_counts: bool = False) -> Tensor:
    """Mean cross entropy of naming each frame's cluster: [B, T, C], [B, T]; −1 has none."""
    size = min(scores.size(1), targets.size(1))
    scores, targets = scores[:, :size].transpose(1, 2), targets[:, :size]
    total = F.cross_entropy(_wide(scores), targets, ignore_index=-1, reduction="sum")
    return total / (targets.numel() if padding_counts else (targets != -1).sum().clamp_min(1))


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
