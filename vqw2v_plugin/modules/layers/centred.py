"""wav → z → c in training: weights that are deaf to what all their inputs have in common.

What comes out of a ReLU is never negative, so a layer's inputs share a mean that is nearly constant over
time. All weights of an output then have gradients of one sign, an optimizer that scales each step, as Adam,
moves them alike, and some twenty layers of that turn any audio into a constant before what varies has been
learnt. Centred weights sum to zero over their inputs at the start, and so do their gradients (gradient
centralization, arXiv 2004.01461). Only how the weights begin and move is different: the network is the
same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def centre_layers(module: nn.Module) -> None:
    """All convolutions and linear layers in it that have more than one input a weight."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.Linear) and layer.weight.size(1) > 1:
            centre(layer.weight, 1)


def centre(weight: Tensor, inputs: int) -> None:
    """`inputs`: the dimension that a weight's inputs are counted along."""

    def centred(x: Tensor) -> Tensor:
        return x - x.mean(inputs, keepdim=True)

    with torch.no_grad():
        weight.copy_(centred(weight))
    weight.register_hook(centred)  # type: ignore[no-untyped-call]
