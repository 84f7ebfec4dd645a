"""features ──generator──▶ phones: one convolution, in 2.0 behind a batch norm and a residual layer.

Shapes: B batch, T frames, T' frames of scores, D features, V columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..kernels.dropout import dropout
from ..layers.padding import padding
from .config import UnpairedConfig


@dataclass(frozen=True)
class Generated:
    """Unnormalized scores; `inter` is what the residual branch adds, at the features' own rate."""

    logits: Tensor  # [B, T', V]
    lengths: Tensor  # [B]
    inter: Tensor | None  # [B, T, D]


class Generator(nn.Module):
    """No valid frame sees what is behind its utterance's end."""

    def __init__(self, config: UnpairedConfig) -> None:
        super().__init__()
        self.config, self.stride = config, config.generator_stride
        size = config.input_dim
        if config.generator_batch_norm:
            self.norm = nn.BatchNorm1d(size)
            nn.init.constant_(self.norm.weight, config.generator_batch_norm)
        if config.generator_residual:
            self.residual = nn.Linear(size, size)
        self.conv = nn.Conv1d(
            size,
            config.num_columns,
            config.generator_kernel,
            self.stride,
            config.padding,
            config.generator_dilation,
            bias=config.generator_bias,
        )

    def frames(self, frames: int) -> int:
        """Frames of scores that so many frames of features give."""
        config = self.config
        return max(0, (frames + 2 * config.padding - config.reach) // self.stride + 1)

    def stride_by(self, frames: int) -> None:
        """From here on there is one frame of scores to so many of features."""
        if frames < 1:
            raise ValueError(f"`decode_stride` is {frames}; expected 1 or more")
        self.stride, self.conv.stride = frames, (frames,)

    def forward(self, x: Tensor, lengths: Tensor) -> Generated:  # [B, T, D], [B]
        config, behind = self.config, padding(lengths, x.size(1))
        x = x.masked_fill(behind.unsqueeze(2), 0.0)
        if config.generator_batch_norm:
            x = self._normed(x, ~behind)
        inter = None
        if config.generator_residual:
            inter = self.residual(self._dropped(x))
            x = x + inter
        x = self._dropped(x).masked_fill(behind.unsqueeze(2), 0.0)
        logits = self.conv(x.transpose(1, 2)).transpose(1, 2)  # [B, T', V]
        lengths = (lengths + (2 * config.padding - config.reach)).div(self.stride, rounding_mode="floor")
        return Generated(logits, (lengths + 1).clamp_min(0), inter)

    def _normed(self, x: Tensor, valid: Tensor) -> Tensor:
        """Over valid frames alone."""
        normed = torch.zeros_like(x)
        normed[valid] = self.norm(x[valid]).to(x.dtype)  # [N, D]
        return normed

    def _dropped(self, x: Tensor) -> Tensor:
        return dropout(x, self.config.generator_dropout, self.training)
