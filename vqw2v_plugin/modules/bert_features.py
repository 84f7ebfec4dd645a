"""tokens ──BERT──▶ states of any layer, or a learned mix of all, for a batch of utterances' token ids.

Shapes: T tokens of an utterance, L layers (and the embeddings before them), D model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .bert import Bert
from .vocabulary import BOS, EOS


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
    packed = torch.cat([torch.tensor([BOS, *ids.tolist(), EOS]) for ids in tokens]).to(device)  # [N]
    lengths = [len(ids) + 2 for ids in tokens]
    states = network.states(packed, lengths)
    num_layers = len(states) - 1
    if isinstance(layer, LayerMix):
        chosen = layer(states)
    elif -num_layers - 1 <= layer <= num_layers:
        chosen = states[layer]
    else:
        raise ValueError(f"layer is {layer}; expected 0 (the embeddings) to {num_layers}, or -1 for the last")
    return [piece[1:-1] for piece in chosen.split(lengths)]
