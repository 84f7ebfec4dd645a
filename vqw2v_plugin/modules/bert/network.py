"""tokens ──BERT──▶ states: a Transformer that restores masked tokens (arXiv 1910.05453 §4.2).

Shapes: N tokens of a batch's utterances, one after the other with <s> and </s>; K masked ones, D model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.attention import Rows
from .config import BertConfig
from .encoder import MaskedEncoder, chosen_state, initialize
from .vocabulary import BOS, EOS, Prediction, Symbols, make_vocabulary, predict


class Bert(MaskedEncoder):
    """Embeddings, layers and the head that scores symbols."""

    config: BertConfig

    def __init__(self, config: BertConfig, symbols: Symbols) -> None:
        super().__init__()
        dim = config.encoder_embed_dim
        self.config, self.symbols = config, symbols
        self.vocabulary = make_vocabulary(config.vocabulary, symbols, dim, config.untie_weights_roberta)
        self._add_layers(config)
        self.apply(initialize)

    def forward(
        self, tokens: Tensor, lengths: Sequence[int], masked: Rows, targets: Tensor, apart: bool = False
    ) -> Prediction:
        """What a training step needs, computed for masked tokens alone: tokens [N], targets [K]."""
        x = self._masked_states(self.vocabulary.embed(tokens), lengths, masked)
        return predict(self.vocabulary, self._head(x), targets, masked.counts if apart else None)

    def states(self, tokens: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """The embeddings, then each layer's output, [N, D] each."""
        return self._states(self.vocabulary.embed(tokens), lengths)

    def scores(self, tokens: Tensor, lengths: Sequence[int]) -> tuple[Tensor, ...]:
        """Of every symbol at every position: [N, V], or [N, V_g] for each group."""
        return self.vocabulary.scores(self._head(self.states(tokens, lengths)[-1]))


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
    chosen = layer(states) if isinstance(layer, LayerMix) else chosen_state(states, layer, "the embeddings")
    return [piece[1:-1] for piece in chosen.split(lengths)]
