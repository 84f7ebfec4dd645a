"""features → their principal components: the directions in which frames differ most.

Shapes: N frames, F features, D components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


class Principal(nn.Module):
    """Frames → how far they lie from the mean along each direction, the longest first."""

    mean: Tensor  # [F]
    axes: Tensor  # [D, F], orthogonal, of length 1

    def __init__(self, mean: Tensor, axes: Tensor) -> None:
        super().__init__()
        if axes.dim() != 2 or mean.shape != axes.shape[1:] or not 1 <= len(axes) <= axes.size(1):
            raise ValueError(
                f"`axes` are {list(axes.shape)} and the mean is {list(mean.shape)}; expected [D, F] and [F], "
                f"D up to F"
            )
        self.register_buffer("mean", mean.float())
        self.register_buffer("axes", axes.float())

    def forward(self, x: Tensor) -> Tensor:  # [N, F] → [N, D]
        return (x - self.mean) @ self.axes.T


def principal_of(batches: Callable[[], Iterable[Tensor]], dim: int) -> Principal:
    """Of frames that are passed over twice, [n, F] at a time; one matrix [F, F] is held.

    Directions have no sign of their own: of each the largest entry is made positive.
    """
    count, total = 0, torch.zeros(())
    for batch in batches():
        count, total = count + len(batch), total + batch.double().sum(0)
    if not count:
        raise ValueError("there are no frames to find components of; expected at least one")
    mean = total / count
    spread = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for batch in batches():
        centred = batch.double() - mean
        spread += centred.T @ centred
    if not 1 <= dim <= len(mean):
        raise ValueError(f"`dim` is {dim}; expected 1 to {len(mean):,}, the size of a frame")
    _, vectors = torch.linalg.eigh(spread / count)  # ascending, in columns
    axes = vectors.T.flip(0)[:dim]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return Principal(mean, axes * torch.where(largest < 0, -1.0, 1.0))
