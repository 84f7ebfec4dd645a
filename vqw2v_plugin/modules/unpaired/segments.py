"""features ──generator──▶ phones: one frame for each run of one phone (JOIN), or for each few frames.

In training a run is one frame of it at random, which works better than the mean; otherwise it is the mean.
Shapes: B batch, T frames, R runs, C channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers.padding import padding


def join(
    logits: Tensor,
    lengths: Tensor,
    at_random: bool,
    generator: torch.Generator | None = None,
    padding_is_run: bool = False,
) -> tuple[Tensor, Tensor]:
    """Scores [B, T, V] → [B, R, V], and how many runs each row has [B]; zeros behind them.

    `padding_is_run`: there is room for one more where a row has padding, as in fairseq.
    """
    behind = padding(lengths, logits.size(1))  # [B, T]
    best = logits.argmax(-1)
    changes = best != F.pad(best, (1, 0), value=-1)[:, :-1]
    begins = changes & ~behind
    counts = begins.sum(1)  # [B]
    room = counts + behind.any(1) if padding_is_run else counts
    most = max(1, int(room.max()))
    # frames behind the end fall into a run of their own, behind the last
    run = (begins.cumsum(1) - 1).masked_fill(behind, most)  # [B, T]
    sizes = logits.new_zeros(len(logits), most + 1).scatter_add_(1, run, torch.ones_like(logits[..., 0]))
    sizes = sizes[:, :most]  # [B, R]
    if at_random:
        first = sizes.cumsum(1) - sizes
        drawn = torch.rand(sizes.shape, generator=generator).to(sizes.device)
        place = first + (sizes * drawn).floor().clamp(max=(sizes - 1).clamp_min(0))
        place = place.long().clamp(max=logits.size(1) - 1)
        joined = logits.gather(1, place.unsqueeze(2).expand(-1, -1, logits.size(2)))
        return joined.masked_fill(padding(counts, most).unsqueeze(2), 0.0), counts
    where = run.unsqueeze(2).expand(-1, -1, logits.size(2))
    summed = logits.new_zeros(len(logits), most + 1, logits.size(2)).scatter_add(1, where, logits)
    means = summed[:, :most] / sizes.clamp_min(1).unsqueeze(2)
    return means, counts


def chunks(
    x: Tensor, lengths: Tensor, size: int, at_random: bool, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Features [B, T, C] → one frame for each `size` of them, the last of fewer."""
    total = -(-x.size(1) // size)
    x = x.masked_fill(padding(lengths, x.size(1)).unsqueeze(2), 0.0)
    x = F.pad(x, (0, 0, 0, total * size - x.size(1))).view(len(x), total, size, -1)  # [B, R, size, C]
    starts = torch.arange(total, device=x.device) * size
    held = (lengths.unsqueeze(1) - starts).clamp(0, size)  # [B, R]
    counts = (lengths + size - 1).div(size, rounding_mode="floor")
    if at_random:
        drawn = torch.rand(held.shape, generator=generator).to(x.device)
        place = (held * drawn).long().clamp(max=size - 1)
        picked = x.gather(2, place[..., None, None].expand(-1, -1, 1, x.size(3)))
        return picked.squeeze(2), counts
    return x.sum(2) / held.clamp_min(1).unsqueeze(2).to(x.dtype), counts
