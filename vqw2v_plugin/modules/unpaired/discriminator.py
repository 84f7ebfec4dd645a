"""phones ──adversary──▶ whether they were generated: causal convolutions, and their mean over time.

Shapes: B batch, T phones, V columns, H channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers.padding import padding
from .config import UnpairedConfig


class Discriminator(nn.Module):
    """Scores [B] of sequences: above 0 where they seem generated."""

    def __init__(self, config: UnpairedConfig) -> None:
        super().__init__()
        self.config = config
        kernel, dim, spread = (
            config.discriminator_kernel,
            config.discriminator_dim,
            config.discriminator_dilation,
        )
        first = 1 if config.discriminator_linear_emb else kernel
        self.embed = nn.Conv1d(config.num_columns, dim, first, dilation=spread)
        self.inner = nn.ModuleList(
            nn.Conv1d(dim, dim, kernel, dilation=spread) for _ in range(config.discriminator_depth - 1)
        )
        self.score = nn.Conv1d(dim, 1, kernel)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:  # [B, T, V], [B] → [B]
        """Without lengths every frame counts."""
        behind = None if lengths is None else padding(lengths, x.size(1)).unsqueeze(1)  # [B, 1, T]
        y = x.transpose(1, 2)
        y = self._conv(self.embed, y, behind)
        if self.config.discriminator_act_after_linear:
            y = F.gelu(y)
        y = self._dropped(y)
        for layer in self._inner():
            y = F.gelu(self._dropped(self._conv(layer, y, behind)))
        return self._pooled(self._conv(self.score, y, behind).squeeze(1), lengths, behind)

    def _conv(self, layer: nn.Conv1d, y: Tensor, behind: Tensor | None) -> Tensor:  # [B, C, T]
        """As many frames as before; those behind an end are zeros to those before it."""
        reach = layer.dilation[0] * (layer.kernel_size[0] - 1)
        if not self.config.discriminator_causal:
            if behind is not None:
                y = y.masked_fill(behind, 0.0)
            left = (reach + 1) // 2
            return layer(F.pad(y, (left, reach - left)))  # type: ignore[no-any-return]
        return layer(F.pad(y, (reach, 0)))  # type: ignore[no-any-return]

    def _inner(self) -> Iterator[nn.Conv1d]:
        return iter(self.inner)  # type: ignore[arg-type]

    def _dropped(self, y: Tensor) -> Tensor:
        return F.dropout(y, self.config.discriminator_dropout, self.training)

    def _pooled(self, scores: Tensor, lengths: Tensor | None, behind: Tensor | None) -> Tensor:  # [B, T]
        if self.config.discriminator_max_pool:
            if behind is not None:
                scores = scores.masked_fill(behind.squeeze(1), -math.inf)
            return scores.max(1).values
        if lengths is None or behind is None:
            return scores.mean(1)
        return scores.masked_fill(behind.squeeze(1), 0.0).sum(1) / lengths.clamp_min(1).to(scores.dtype)

    @torch.no_grad()
    def begin_anew(self, seed: int) -> None:
        """Its weights are drawn again, as torch draws those of convolutions; the caller's draws stay."""
        generator = torch.Generator().manual_seed(seed)
        for layer in (self.embed, *self._inner(), self.score):
            fan_in = layer.weight[0].numel()
            for parameter in layer.parameters():
                drawn = torch.rand(parameter.shape, generator=generator) * 2 - 1
                parameter.copy_(drawn / math.sqrt(fan_in))
