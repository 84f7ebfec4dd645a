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


class Centring:
    """A weight's hook: its gradient less the mean over `inputs`, unless whoever made it has done so."""

    def __init__(self, inputs: int) -> None:
        self.inputs, self.done = inputs, False

    def __call__(self, grad: Tensor) -> Tensor | None:
        done, self.done = self.done, False
        return None if done else grad - grad.mean(self.inputs, keepdim=True)


def centre(weight: Tensor, inputs: int) -> None:
    """`inputs`: the dimension that a weight's inputs are counted along."""
    with torch.no_grad():
        weight.copy_(weight - weight.mean(inputs, keepdim=True))
    weight.centring = Centring(inputs)  # type: ignore[attr-defined]
    weight.register_hook(weight.centring)  # type: ignore[attr-defined,no-untyped-call]
