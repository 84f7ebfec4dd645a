"""features ──clusters──▶ tokens, how the centres are found: k-means++ and Lloyd's passes, batch by batch.

Shapes: N frames, D features of all groups, G groups, V codes, E = D / G.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import nearest_entries

_STARTS = 3  # of which the best goes on
_PASSES = 10  # over the sample, before the starts are compared


@dataclass(frozen=True)
class Cells:
    """What some frames say of the centres that are nearest to them."""

    counts: Tensor  # [G, V]
    sums: Tensor  # [G, V, E]
    distance: Tensor  # [G], of all frames together, squared
    far: Tensor  # [G, V, E], the frames that lie farthest from their centres, the farthest first
    far_distance: Tensor  # [G, V]; below 0 where there were fewer frames

    def __add__(self, other: Cells) -> Cells:
        distances = torch.cat([self.far_distance, other.far_distance], 1)
        kept, order = distances.sort(dim=1, descending=True, stable=True)
        size = self.counts.size(1)
        order = order[:, :size].unsqueeze(-1).expand(-1, -1, self.far.size(-1))
        return Cells(
            self.counts + other.counts,
            self.sums + other.sums,
            self.distance + other.distance,
            torch.cat([self.far, other.far], 1).gather(1, order),
            kept[:, :size],
        )

    @property
    def centres(self) -> Tensor:  # [G, V, E]
        """The means; a centre without frames goes where a frame was farthest from all centres."""
        means = self.sums / self.counts.clamp_min(1).unsqueeze(-1)
        empty = self.counts == 0  # [G, V]
        nth = (empty.cumsum(1) - 1).clamp_min(0)  # [G, V]
        at = self.far.gather(1, nth.unsqueeze(-1).expand_as(self.far)).double()
        moves = empty & (self.far_distance.gather(1, nth) > 0)
        return torch.where(moves.unsqueeze(-1), at, means).float()


def cells_of(x: Tensor, entries: Tensor) -> Cells:  # [N, D], [G, V, E]
    """Of a batch of frames."""
    groups, num_codes, dim = entries.shape
    x = x.reshape(len(x), groups, dim)  # [N, G, E]
    codes = nearest_entries(x, entries)  # [N, G]
    rows = codes + torch.arange(groups) * num_codes
    distances = (x - entries.flatten(0, 1)[rows]).square().sum(-1)  # [N, G]
    sums = torch.zeros(groups * num_codes, dim, dtype=torch.float64)
    sums.index_add_(0, rows.flatten(), x.flatten(0, 1).double())
    counts = torch.bincount(rows.flatten(), minlength=groups * num_codes).double()
    size = min(num_codes, len(x))
    top, where = distances.T.topk(size, dim=1)  # [G, size]
    far = torch.zeros(groups, num_codes, dim)
    far[:, :size] = x.transpose(0, 1).gather(1, where.unsqueeze(-1).expand(-1, -1, dim))
    far_distance = torch.full((groups, num_codes), -1.0)
    far_distance[:, :size] = top
    return Cells(
        counts.view(groups, num_codes),
        sums.view(groups, num_codes, dim),
        distances.double().sum(0),
        far,
        far_distance,
    )


def first_centres(sample: Tensor, groups: int, num_codes: int, seed: int) -> Tensor:  # [N, D] → [G, V, E]
    """The best of some starts, each after some passes over the sample; the groups are independent."""
    found = []
    for group, frames in enumerate(sample.chunk(groups, 1)):
        tries = []
        for attempt in range(_STARTS):
            generator = torch.Generator().manual_seed(seed + 1_000_003 * attempt + 7919 * group)
            entries = plus_plus(frames, num_codes, generator)[None]
            for _ in range(_PASSES):
                entries = cells_of(frames, entries).centres
            tries.append((float(cells_of(frames, entries).distance), entries))
        found.append(min(tries, key=lambda each: each[0])[1])
    return torch.cat(found)


def plus_plus(frames: Tensor, num_codes: int, generator: torch.Generator) -> Tensor:  # [N, E] → [V, E]
    """k-means++ (Arthur and Vassilvitskii, 2007): each centre is the best of a few draws."""
    trials = 2 + int(math.log(num_codes))
    first = int(torch.randint(len(frames), (1,), generator=generator))
    chosen = [first]
    nearest = (frames - frames[first]).square().sum(1)  # [N]
    norms = frames.square().sum(1)
    while len(chosen) < num_codes:
        if not float(nearest.sum()) > 0:  # all frames are centres: the rest repeats them
            chosen += torch.randint(len(frames), (num_codes - len(chosen),), generator=generator).tolist()
            break
        drawn = torch.multinomial(nearest.double(), trials, replacement=True, generator=generator)
        distances = (norms + norms[drawn, None] - 2 * frames[drawn] @ frames.T).clamp_min(0)  # [trials, N]
        lower = torch.minimum(distances, nearest)
        best = int(lower.sum(1).argmin())
        nearest = lower[best]
        nearest[drawn[best]] = 0
        chosen.append(int(drawn[best]))
    return frames[chosen]


def total(parts: Iterable[Cells]) -> Cells:
    """Of several batches, in their order."""
    parts = iter(parts)
    found = next(parts)
    for part in parts:
        found = found + part
    return found
