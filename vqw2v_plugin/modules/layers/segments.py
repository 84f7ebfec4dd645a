"""features → segments: the mean of each run of frames of one cluster, and of neighbouring pairs of these.

Baevski et al. 2021, https://arxiv.org/abs/2105.11084, section 3.
Shapes: T frames, N segments, D features, G groups.
"""

from __future__ import annotations

import torch
from torch import Tensor


def run_places(codes: Tensor) -> Tensor:  # [T, G] → [T]
    """Which run each frame is of: a new one begins where any group's code changes."""
    changes = (codes[1:] != codes[:-1]).any(1)
    return torch.cat([changes.new_zeros(min(1, len(codes))), changes]).cumsum(0)


def means_of(x: Tensor, places: Tensor) -> Tensor:  # [T, D], [T] → [N, D]
    """The mean of the frames of each place; every place has a frame."""
    count = int(places[-1]) + 1 if len(places) else 0
    total = x.new_zeros(count, x.size(1)).index_add_(0, places, x)
    sizes = torch.bincount(places, minlength=count)
    return total / sizes[:, None]


def pair_means(x: Tensor) -> Tensor:  # [N, D] → [⌈N / 2⌉, D]
    """The mean of each two neighbours; a last one that is left over stays as it is."""
    whole = x if len(x) % 2 == 0 else torch.cat([x, x[-1:]])
    return whole.reshape(-1, 2, x.size(1)).mean(1)  # [N / 2, 2, D] → [N / 2, D]


def span_means(x: Tensor, firsts: Tensor, ends: Tensor) -> Tensor:  # [T, D], [N], [N] → [N, D]
    """The mean of the frames from each first one to before each end, the nearest frame where that is none."""
    firsts = firsts.clamp(0, len(x) - 1)
    ends = torch.maximum(ends.clamp(0, len(x)), firsts + 1)
    means = [x[first:end].mean(0) for first, end in zip(firsts.tolist(), ends.tolist(), strict=True)]
    return torch.stack(means) if means else x[:0]
