"""states ──acoustic model──▶ letters: the network from features to emissions, and its loss.

Shapes: B batch, T frames of features, T' of emissions, D features, V columns (the model's symbols).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..layers.masks import SpecAugment, SpecMasks
from ..layers.norm import normalized
from .alignment import SequenceLoss
from .conv_stack import ConvStack, parse_stack

NORMALIZE = ("utterance", "none")


@dataclass(frozen=True)
class AcousticConfig:
    """All that the network is made of; `layers` are (channels, kernel[, stride[, padding[, dropout]]])."""

    in_dim: int  # D
    num_columns: int  # V
    layers: str = "[(192, 7, 2)] + [(192, 7)] * 4"
    activation: str = "relu"
    norm: str = "layer"
    dropout: float = 0.0  # of layers that do not give their own
    normalize: str = "utterance"  # mean 0 and variance 1 of each feature over an utterance, or none
    masks: SpecMasks = field(default_factory=SpecMasks)


@dataclass(frozen=True)
class AcousticOutput:
    """Unnormalized scores. A tensor of the loss's transitions is with them so that DDP sees these used."""

    emissions: Tensor  # [B, T', V], float32 at least
    lengths: Tensor  # [B]
    transitions: Tensor | None = None  # [V, V]: to, from


class AcousticModel(nn.Module):
    """Normalisation, masks in training, convolutions; `sequence_loss` has the transitions, if any."""

    def __init__(self, config: AcousticConfig, sequence_loss: SequenceLoss) -> None:
        super().__init__()
        _validate(config)
        self.config, self.sequence_loss = config, sequence_loss
        self.augment = SpecAugment(config.masks)
        layers = parse_stack(config.layers, config.dropout)
        self.stack = ConvStack(config.in_dim, config.num_columns, layers, config.activation, config.norm)

    @property
    def stride(self) -> int:
        """Frames of features to one frame of emissions."""
        return self.stack.stride

    @property
    def receptive_field(self) -> int:
        """Frames of emissions, of whose length one of them sees."""
        return -(-self.stack.receptive_field // self.stride)

    def frames(self, frames: int) -> int:
        """Frames of emissions that so many frames of features give."""
        return self.stack.frames(frames)

    @property
    def transitions(self) -> Tensor | None:  # [V, V]: to, from
        return self.sequence_loss.transitions

    def forward(self, features: Tensor, lengths: Tensor) -> AcousticOutput:  # [B, T, D], [B]
        if features.dim() != 3 or features.size(2) != self.config.in_dim or not features.size(1):
            raise ValueError(
                f"`features` are {list(features.shape)}; expected [batch, frames, {self.config.in_dim}], the "
                "features that the model was made for"
            )
        lengths = lengths.to(features.device)
        x = features.to(torch.promote_types(features.dtype, torch.float32))
        if self.config.normalize == "utterance":
            x = normalized(x, lengths)
        x = self.augment(x, lengths)
        scores, lengths = self.stack(x.to(self._dtype), lengths)
        # a view: DDP looks for parameters from a result's place in the graph, and a parameter itself has none
        seen = None if self.transitions is None else self.transitions.view_as(self.transitions)
        return AcousticOutput(scores.to(torch.promote_types(scores.dtype, torch.float32)), lengths, seen)

    @property
    def _dtype(self) -> torch.dtype:
        bias: Tensor = self.stack.projection.bias  # type: ignore[assignment]
        return bias.dtype


def _validate(config: AcousticConfig) -> None:
    for name in ("in_dim", "num_columns"):
        if getattr(config, name) < 1:
            raise ValueError(f"`{name}` is {getattr(config, name)}; expected at least 1")
    if config.normalize not in NORMALIZE:
        raise ValueError(
            f"`normalize_features` is {config.normalize!r}; expected one of {', '.join(NORMALIZE)}"
        )
    if not 0 <= config.dropout < 1:
        raise ValueError(f"`dropout` is {config.dropout}; expected a probability in [0, 1)")
