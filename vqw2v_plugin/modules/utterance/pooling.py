"""states ──head──▶ class: many frames of an utterance as one vector, whatever is padded behind them.

Shapes: B batch, T frames, H features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..layers.padding import padding


class MeanPooling(nn.Module):
    """The mean of an utterance's own frames."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # [B, T, H], [B] → [B, H]
        behind = padding(lengths, x.size(1)).unsqueeze(2)  # [B, T, 1]
        return x.masked_fill(behind, 0.0).sum(1) / lengths.clamp_min(1).unsqueeze(1).to(x.dtype)


class AttentionPooling(nn.Module):
    """A mean in which frames weigh as much as they are worth, which is learnt; at first all the same."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.worth = nn.Linear(dim, 1)
        nn.init.zeros_(self.worth.weight)
        nn.init.zeros_(self.worth.bias)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # [B, T, H], [B] → [B, H]
        behind = padding(lengths.clamp_min(1), x.size(1))  # [B, T]
        weights = self.worth(x).squeeze(2).float().masked_fill(behind, -torch.inf).softmax(1)  # [B, T]
        x = x.masked_fill(behind.unsqueeze(2), 0.0)
        return torch.einsum("bt,bth->bh", weights.to(x.dtype), x)


POOLINGS: dict[str, Callable[[int], nn.Module]] = {
    "mean": lambda dim: MeanPooling(),
    "attention": AttentionPooling,
}
