"""states ──head──▶ class: layers mixed by learnt weights, a projection, pooling over time, a linear layer.

Shapes: B batch, T frames, L layers, D features of a layer, H hidden features, N classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers.checks import check_choices, check_counts, check_probabilities
from ..layers.norm import normalized
from ..layers.padding import padding
from .pooling import POOLINGS

NORMALIZE = ("corpus", "utterance", "none")
_EPSILON = 1e-5  # of a variance
_MOST_LAYERS = 1000


@dataclass(frozen=True)
class UtteranceConfig:
    """All that the network is made of."""

    in_dim: int  # D
    num_classes: int  # N
    num_layers: int = 1  # L
    hidden_dim: int = 128  # H
    pooling: str = "mean"
    normalize: str = "corpus"  # mean 0 and variance 1 of each feature over training, an utterance, or neither
    dropout: float = 0.2


@dataclass(frozen=True)
class UtteranceOutput:
    """Unnormalized scores."""

    logits: Tensor  # [B, N], float32 at least


class UtteranceNetwork(nn.Module):
    """One class an utterance; more padding changes no score."""

    mean: Tensor
    scale: Tensor

    def __init__(self, config: UtteranceConfig) -> None:
        super().__init__()
        _validate(config)
        self.config = config
        layers, dim = config.num_layers, config.in_dim
        self.register_buffer("mean", torch.zeros(layers, dim))
        self.register_buffer("scale", torch.ones(layers, dim))
        self.mix = nn.Parameter(torch.zeros(layers)) if layers > 1 else None
        self.projection = nn.Linear(dim, config.hidden_dim)
        self.pooling = POOLINGS[config.pooling](config.hidden_dim)
        self.classes = nn.Linear(config.hidden_dim, config.num_classes)

    def fit(self, mean: Tensor, variance: Tensor) -> None:  # [L · D] each
        """What features are like in training, which is taken away from them with `normalize` corpus."""
        shape = (self.config.num_layers, self.config.in_dim)
        self.mean.copy_(mean.view(shape))
        self.scale.copy_((variance.view(shape) + _EPSILON).rsqrt())

    def layer_weights(self) -> Tensor:  # [L]
        """How much of each layer is in the mix."""
        return torch.ones(1) if self.mix is None else self.mix.detach().float().softmax(0)

    def forward(self, features: Tensor, lengths: Tensor) -> UtteranceOutput:  # [B, T, L · D], [B]
        layers, dim = self.config.num_layers, self.config.in_dim
        if features.dim() != 3 or features.size(2) != layers * dim or not features.size(1):
            raise ValueError(
                f"`features` are {list(features.shape)}; expected [batch, frames, {layers * dim}], the "
                "features that the model was made for"
            )
        lengths = lengths.to(features.device)
        behind = padding(lengths, features.size(1)).unsqueeze(2)  # [B, T, 1]
        x = features.to(torch.promote_types(features.dtype, torch.float32)).masked_fill(behind, 0.0)
        x = self._mixed(self._normalized(x, lengths).view(*x.shape[:2], layers, dim))  # [B, T, D]
        x = F.gelu(self.projection(x.to(self.projection.weight.dtype)))
        x = F.dropout(x, self.config.dropout, self.training)
        pooled = self.pooling(x.to(torch.promote_types(x.dtype, torch.float32)), lengths)  # [B, H]
        scores = self.classes(pooled.to(self.classes.weight.dtype))
        return UtteranceOutput(scores.to(torch.promote_types(scores.dtype, torch.float32)))

    def _normalized(self, x: Tensor, lengths: Tensor) -> Tensor:  # [B, T, L · D]
        if self.config.normalize == "utterance":
            return normalized(x, lengths)
        if self.config.normalize == "corpus":
            return (x - self.mean.flatten().to(x.dtype)) * self.scale.flatten().to(x.dtype)
        return x

    def _mixed(self, x: Tensor) -> Tensor:  # [B, T, L, D] → [B, T, D]
        if self.mix is None:
            return x.squeeze(2)
        return torch.einsum("btld,l->btd", x, self.mix.to(x.dtype).softmax(0))


def _validate(config: UtteranceConfig) -> None:
    check_counts(config, {"in_dim": 1, "num_classes": 2, "num_layers": 1, "hidden_dim": 1})
    if config.num_layers > _MOST_LAYERS:
        raise ValueError(f"`num_layers` is {config.num_layers:,}; expected at most {_MOST_LAYERS:,}")
    check_choices(config, {"pooling": tuple(POOLINGS), "normalize": NORMALIZE})
    check_probabilities(config, ["dropout"])
