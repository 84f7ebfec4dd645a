"""Two stretches of z, c, codes … → their distance, on a GPU: as `dtw`, a diagonal of all pairs at a time.

Shapes: P pairs, N and M frames of a pair's stretches, D features of a frame, G groups.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .dtw import CLOSE, LENGTH_BITS, RESOLUTION, Floats, buckets, check_lengths

_BYTES = 1 << 28  # of a bucket's frames and distances
_FAR = 1 << 60


@torch.no_grad()
def pair_distances(
    frames: npt.NDArray[Any],  # [F, D], prepared
    starts: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    pairs: npt.NDArray[np.int64],  # [P, 2]
    distance: str,
    device: torch.device,
) -> Floats:  # [P]
    """One wait for all of them."""
    all_frames, found, order = torch.from_numpy(frames).to(device), [], []
    for some, rows, columns, n, m in buckets(starts, sizes, pairs, frames.shape[1], _BYTES):
        x, y = (
            all_frames[torch.from_numpy(first).to(device)[:, None] + torch.arange(size, device=device)]
            for first, size in ((rows, n), (columns, m))
        )
        found.append(dtw(frame_distances(x, y, distance)))
        order.append(some)
    distances = np.empty(len(pairs))
    if found:
        distances[np.concatenate(order)] = torch.cat(found).cpu().numpy()
    return distances


def frame_distances(x: Tensor, y: Tensor, distance: str) -> Tensor:  # [P, N, D], [P, M, D] → [P, N, M]
    if distance == "codes":
        one, other = x[:, :, None], y[:, None]
        return ((one != other) | (one < 0)).float().mean(-1)
    dots = torch.bmm(x, y.transpose(1, 2))
    if distance == "euclidean":
        squares = x.square().sum(2)[:, :, None] + y.square().sum(2)[:, None]
        apart = squares - 2 * dots
        return apart.masked_fill(apart < CLOSE * squares, 0).sqrt() / 2
    dots = dots.masked_fill(dots > 1 - CLOSE, 1).clamp_min(-1)
    return dots.arccos() / math.pi if distance == "angular" else (1 - dots) / 2


def dtw(costs: Tensor) -> Tensor:  # [P, N, M] → [P] fp64
    """A path reaches a cell from beside, above or both, which lie on the two diagonals before."""
    count, n, m = costs.shape
    check_lengths(n, m)
    cells = (costs.double() / RESOLUTION).round().long()
    cells = ((cells << LENGTH_BITS) + 1).flatten(1)  # [P, N · M]
    before = last = cells.new_full((count, n + 1), _FAR)  # row i stands at i + 1
    for d in range(n + m - 1):
        low, high = max(0, d - m + 1), min(n - 1, d)
        begin, step = d + low * (m - 1), max(1, m - 1)
        here = cells[:, begin : begin + (high - low) * step + 1 : step]
        reached = torch.minimum(last[:, low + 1 : high + 2], last[:, low : high + 1])
        reached = torch.minimum(reached, before[:, low : high + 1])
        now = cells.new_full((count, n + 1), _FAR)
        now[:, low + 1 : high + 2] = here + reached if d else here
        before, last = last, now
    total = last[:, n]
    return (total >> LENGTH_BITS) * RESOLUTION / (total & ((1 << LENGTH_BITS) - 1)).double()
