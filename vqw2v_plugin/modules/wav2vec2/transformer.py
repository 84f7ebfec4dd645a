"""masked z → states: positions and the layers of the Transformer (wav2vec 2.0 §2).

Shapes: N frames of a batch's utterances, one after the other; K rows that are asked for, D model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..kernels.attention import Rows
from ..kernels.dropout import dropout
from ..layers.packed import pack, unpack
from ..layers.transformer import TransformerLayer
from .config import Wav2Vec2Config
from .positions import PositionConv

_APART = 0x9E3779B1  # seeds of an update's batches, from those of later updates


class Transformer(nn.Module):
    """Norms behind the blocks (BASE) or before them (LARGE)."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = config
        dim = config.encoder_embed_dim
        self.positions = PositionConv(dim, config.conv_pos, config.conv_pos_groups)
        self.norm = nn.LayerNorm(dim)  # before the first layer, or behind the last where norms come first
        self.layers = nn.ModuleList(
            TransformerLayer.of(config, config.layer_norm_first) for _ in range(config.encoder_layers)
        )
        self.layers.apply(_initialize)
        self._coins: tuple[int, int] = (0, 0)  # the update, and how many batches it has had

    def set_num_updates(self, num_updates: int) -> None:
        if num_updates != self._coins[0]:
            self._coins = (num_updates, 0)

    def forward(self, x: Tensor, lengths: Sequence[int], rows: Rows | None = None) -> Tensor:
        """The last layer's output [N, D], or for the rows that are asked for [K, D]."""
        x, last = self._placed(x, lengths), len(self.layers) - 1
        for i, (layer, stays) in enumerate(zip(self.layers, self._drawn(), strict=True)):
            asked = rows if i == last else None
            if stays:
                x = layer(x, lengths, None, asked)
            else:
                x = (x if asked is None else x[asked.index]) + _nothing(layer)
        return self.norm(x) if self.config.layer_norm_first else x

    def states(self, x: Tensor, lengths: Sequence[int], depth: int | None = None) -> list[Tensor]:
        """What the first layer hears, then the output of each, or of the first `depth`; [N, D] each."""
        x = self._placed(x, lengths)
        found = [x]
        for layer, stays in zip(self.layers[:depth], self._drawn(), strict=False):
            x = layer(x, lengths) if stays else x + _nothing(layer)
            found.append(x)
        if self.config.layer_norm_first and len(found) > len(self.layers):
            found[-1] = self.norm(x)
        return found

    def _placed(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        side_by_side = unpack(x, lengths)  # [B, T, D]
        x = x + pack(self.positions(side_by_side), lengths)
        if not self.config.layer_norm_first:
            x = self.norm(x)
        return dropout(x, self.config.dropout, self.training)

    def _drawn(self) -> list[bool]:
        """Which layers stay: the same on all ranks, whose generators have drawn other numbers by now.

        All began an update with the same seed, which is what torch still calls the initial one.
        """
        p = self.config.encoder_layerdrop
        if not self.training or not p:
            return [True] * len(self.layers)
        update, batch = self._coins
        self._coins = (update, batch + 1)
        seed = torch.initial_seed() + _APART * batch
        generator = torch.Generator().manual_seed(seed & 0xFFFFFFFF)  # it looks at these bits alone
        return (torch.rand(len(self.layers), generator=generator, device="cpu") >= p).tolist()


def _nothing(layer: nn.Module) -> Tensor:
    """0, with gradient 0: as on ranks that sum their gradients, a layer that was left out has one."""
    return sum(p.flatten()[0] * 0 for p in layer.parameters())  # type: ignore[return-value]


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
