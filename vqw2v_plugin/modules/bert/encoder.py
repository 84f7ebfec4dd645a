"""tokens or speech ──BERT──▶ states: the layers and the head of whatever restores what was masked.

Shapes: N tokens or frames of a batch's utterances, one after the other; K masked ones, D model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.attention import Rows
from ..kernels.dropout import dropout
from ..layers.transformer import TransformerLayer, rotary_angles
from .config import TransformerConfig
from .vocabulary import PAD


class MaskedEncoder(nn.Module):
    """A model has its own way in, then calls `_add_layers`, and has its own way out of `_head`."""

    config: TransformerConfig

    def _add_layers(self, config: TransformerConfig) -> None:
        dim = config.encoder_embed_dim
        # stock's table: position 0 of an utterance has row PAD + 1
        self.positions = (
            nn.Embedding(config.max_positions + PAD + 1, dim, padding_idx=PAD)
            if config.position == "learned"
            else None
        )
        self.embedding_norm = nn.LayerNorm(dim) if config.layernorm_embedding else nn.Identity()
        self.layers = nn.ModuleList(
            TransformerLayer.of(config, config.encoder_normalize_before) for _ in range(config.encoder_layers)
        )
        self.final_norm = nn.LayerNorm(dim) if config.encoder_normalize_before else nn.Identity()
        self.head_dense = nn.Linear(dim, dim)
        self.head_norm = nn.LayerNorm(dim)

    def _states(self, x: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """Of what came in [N, D]: that with its positions, then each layer's output, [N, D] each."""
        x, angles = self._placed(x, lengths)
        found = [x]
        for layer in self.layers:
            x = layer(x, lengths, angles)
            found.append(x)
        found[-1] = self.final_norm(x)
        return found

    def _masked_states(self, x: Tensor, lengths: Sequence[int], masked: Rows) -> Tensor:
        """The last of them [K, D], computed for masked ones alone."""
        x, angles = self._placed(x, lengths)
        for layer in self.layers[:-1]:
            x = layer(x, lengths, angles)
        return self.final_norm(self.layers[-1](x, lengths, angles, masked))  # type: ignore[no-any-return]

    def _head(self, x: Tensor) -> Tensor:
        activation = getattr(F, self.config.activation_fn)
        return self.head_norm(activation(self.head_dense(x)))  # type: ignore[no-any-return]

    def _placed(self, x: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """With learned positions [N, D], or with the angles [N, d / 2] of rotary ones."""
        positions = torch.cat([torch.arange(n) for n in lengths]).to(x.device, non_blocking=True)  # [N]
        config, angles = self.config, None
        if self.positions is None:
            angles = rotary_angles(positions, config.encoder_embed_dim // config.encoder_attention_heads)
        else:
            x = x + self.positions(positions % config.max_positions + PAD + 1)
        return dropout(self.embedding_norm(x), config.dropout, self.training), angles


def initialize(module: nn.Module) -> None:
    """As stock's roberta; for `nn.Module.apply`."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        elif module.padding_idx is not None:
            nn.init.zeros_(module.weight.data[module.padding_idx])
    elif isinstance(getattr(module, "output", None), nn.Parameter):
        nn.init.normal_(module.output, std=0.02)  # type: ignore[arg-type]


def chosen_state(states: Sequence[Tensor], layer: int, first: str) -> Tensor:
    """That of a layer by number; `first` is what layer 0 is, for messages."""
    num_layers = len(states) - 1
    if not -num_layers - 1 <= layer <= num_layers:
        raise ValueError(f"layer is {layer}; expected 0 ({first}) to {num_layers}, or -1 for the last")
    return states[layer]
