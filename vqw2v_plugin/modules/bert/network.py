"""tokens ──BERT──▶ states: a Transformer that restores masked tokens (arXiv 1910.05453 §4.2).

Shapes: N tokens of a batch's utterances, one after the other with <s> and </s>; K masked ones, D model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.attention import Rows
from ..kernels.dropout import dropout
from ..layers.transformer import TransformerLayer, rotary_angles
from .config import BertConfig
from .vocabulary import BOS, EOS, PAD, Prediction, Symbols, make_vocabulary, predict


class Bert(nn.Module):
    """Embeddings, layers and the head that scores symbols."""

    def __init__(self, config: BertConfig, symbols: Symbols) -> None:
        super().__init__()
        dim = config.encoder_embed_dim
        self.config, self.symbols = config, symbols
        self.vocabulary = make_vocabulary(config.vocabulary, symbols, dim, config.untie_weights_roberta)
        # stock's table: position 0 of an utterance has row PAD + 1
        self.positions = (
            nn.Embedding(config.max_positions + PAD + 1, dim, padding_idx=PAD)
            if config.position == "learned"
            else None
        )
        self.embedding_norm = nn.LayerNorm(dim) if config.layernorm_embedding else nn.Identity()
        self.layers = nn.ModuleList(_make_layer(config) for _ in range(config.encoder_layers))
        self.final_norm = nn.LayerNorm(dim) if config.encoder_normalize_before else nn.Identity()
        self.head_dense = nn.Linear(dim, dim)
        self.head_norm = nn.LayerNorm(dim)
        self.apply(_initialize)

    def forward(self, tokens: Tensor, lengths: Sequence[int], masked: Rows, targets: Tensor) -> Prediction:
        """What a training step needs, computed for masked tokens alone: tokens [N], targets [K]."""
        x, angles = self._embed(tokens, lengths)
        for layer in self.layers[:-1]:
            x = layer(x, lengths, angles)
        x = self.final_norm(self.layers[-1](x, lengths, angles, masked))
        return predict(self.vocabulary, self._head(x), targets)

    def states(self, tokens: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """The embeddings, then each layer's output, [N, D] each."""
        x, angles = self._embed(tokens, lengths)
        found = [x]
        for layer in self.layers:
            x = layer(x, lengths, angles)
            found.append(x)
        found[-1] = self.final_norm(x)
        return found

    def scores(self, tokens: Tensor, lengths: Sequence[int]) -> tuple[Tensor, ...]:
        """Of every symbol at every position: [N, V], or [N, V_g] for each group."""
        return self.vocabulary.scores(self._head(self.states(tokens, lengths)[-1]))

    def _head(self, x: Tensor) -> Tensor:
        activation = getattr(F, self.config.activation_fn)
        return self.head_norm(activation(self.head_dense(x)))  # type: ignore[no-any-return]

    def _embed(self, tokens: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Embeddings [N, D], and the angles [N, d / 2] of rotary positions."""
        x = self.vocabulary.embed(tokens)
        positions = torch.cat([torch.arange(n) for n in lengths]).to(tokens.device, non_blocking=True)  # [N]
        config, angles = self.config, None
        if self.positions is None:
            angles = rotary_angles(positions, config.encoder_embed_dim // config.encoder_attention_heads)
        else:
            x = x + self.positions(positions % config.max_positions + PAD + 1)
        return dropout(self.embedding_norm(x), config.dropout, self.training), angles


def _make_layer(config: BertConfig) -> TransformerLayer:
    return TransformerLayer(
        config.encoder_embed_dim,
        config.encoder_attention_heads,
        config.encoder_ffn_embed_dim,
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        activation_dropout=config.activation_dropout,
        activation=config.activation_fn,
        norm_first=config.encoder_normalize_before,
    )


def _initialize(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        elif module.padding_idx is not None:
            nn.init.zeros_(module.weight.data[module.padding_idx])
    elif isinstance(getattr(module, "output", None), nn.Parameter):
        nn.init.normal_(module.output, std=0.02)  # type: ignore[arg-type]


class LayerMix(nn.Module):
    """γ · Σ softmax(w)_l · h_l over embeddings and layers, w and γ learned (arXiv 1802.05365, eq. 1)."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_layers + 1))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, states: Sequence[Tensor]) -> Tensor:  # L + 1 of [N, D] → [N, D]
        shares = torch.softmax(self.weights, 0)
        return self.gamma * torch.stack([w * x for w, x in zip(shares, states, strict=True)]).sum(0)


def bert_features(network: Bert, tokens: Sequence[Tensor], layer: int | LayerMix = -1) -> list[Tensor]:
    """States [T, D] of each utterance's token ids [T], without <s> and </s>; layer 0 are the embeddings.

    An utterance's states do not depend on what else is in the batch. Gradients flow unless the caller stops
    them; dropout acts in train mode only.
    """
    if not tokens:
        return []
    device = network.head_dense.weight.device
    packed = torch.cat([F.pad(F.pad(ids, (1, 0), value=BOS), (0, 1), value=EOS) for ids in tokens])  # [N]
    lengths = [len(ids) + 2 for ids in tokens]
    states = network.states(packed.to(device), lengths)
    num_layers = len(states) - 1
    if isinstance(layer, LayerMix):
        chosen = layer(states)
    elif -num_layers - 1 <= layer <= num_layers:
        chosen = states[layer]
    else:
        raise ValueError(f"layer is {layer}; expected 0 (the embeddings) to {num_layers}, or -1 for the last")
    return [piece[1:-1] for piece in chosen.split(lengths)]
