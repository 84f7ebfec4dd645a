"""How encoder and quantizer learn: which frames stand against the positive (wav2vec, arXiv 1904.05862 §2.2).

Shapes: B batch, T frames, N negatives.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
    if same:
        low, count = _window(frames, distance, device)  # [T], [T]
        draw = _below(count.view(1, -1, 1).expand(batch, frames, same), generator)  # [B, T, N]
        own = low.view(1, -1, 1) + draw
        own = own + (own >= torch.arange(frames, device=device).view(1, -1, 1))  # step over the positive
        drawn.append(own + torch.arange(batch, device=device).view(-1, 1, 1) * frames)
    if cross:
        positive = torch.arange(batch * frames, device=device).view(batch, frames, 1)
        other = torch.randint(batch * frames - 1, (batch, frames, cross), device=device, generator=generator)
        drawn.append(other + (other >= positive))
    return torch.cat(drawn, -1)  # [B, T, same + cross]


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
