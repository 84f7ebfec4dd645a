"""states: where a frame stands is told by a convolution over its neighbours (wav2vec 2.0 §2).

Shapes: B batch, T frames, D model, d = D / groups, k taps.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.long_conv import block_conv, in_blocks_pays, pays, spectral_conv


class PositionConv(nn.Module):
    """GELU(W ∗ x), each tap's weights of a learnt norm; what lies beyond an utterance is 0."""

    def __init__(self, dim: int, taps: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.direction = nn.Parameter(torch.empty(dim, dim // groups, taps))  # [D, d, k]
        self.norm = nn.Parameter(torch.empty(1, 1, taps))
        self.bias = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.direction, std=math.sqrt(4 / (taps * dim)))
        with torch.no_grad():
            self.norm.copy_(self._lengths())

    def _lengths(self) -> Tensor:  # [1, 1, k]
        lengths: Tensor = torch.linalg.vector_norm(self.direction, dim=(0, 1), keepdim=True)
        return lengths

    @property
    def weight(self) -> Tensor:  # [D, d, k]
        return self.direction * (self.norm / self._lengths())

    def forward(self, x: Tensor) -> Tensor:  # [B, T, D] → [B, T, D]
        weight, taps = self.weight, self.direction.size(2)
        if self.training and pays(x, weight):
            return F.gelu(spectral_conv(x, weight, self.groups) + self.bias)
        if in_blocks_pays(x, weight):
            return F.gelu(block_conv(x, weight, self.groups) + self.bias)
        y = F.conv1d(x.transpose(1, 2), weight, self.bias, padding=taps // 2, groups=self.groups)
        return F.gelu(y[..., : x.size(1)]).transpose(1, 2)  # an even number of taps gives one frame more
