"""wav → z → c: the group norm and the activations of encoder, context network and quantizers; and features,
each at mean 0 and variance 1, for whatever stands on them.

Shapes: B batch, T frames, C channels, D features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .padding import padding

_EPSILON = 1e-5  # of a variance
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


def make_activation(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        raise ValueError(f"`activation` is {name!r}; expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class GroupNorm32(nn.GroupNorm):
    """Group norm over channels and time, its statistics in fp32 whatever the input's precision."""

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T]
        if x.dtype == torch.float64:
            return super().forward(x)
        weight = None if self.weight is None else self.weight.float()
        bias = None if self.bias is None else self.bias.float()
        return F.group_norm(x.float(), self.num_groups, weight, bias, self.eps).type_as(x)


def normalized(x: Tensor, lengths: Tensor) -> Tensor:  # [B, T, D]
    """Mean 0 and variance 1 of each feature over an utterance's own frames; 0 behind its end."""
    behind = padding(lengths, x.size(1)).unsqueeze(2)  # [B, T, 1]
    count = lengths.clamp_min(1).view(-1, 1, 1).to(x.dtype)
    x = x.masked_fill(behind, 0.0)
    x = (x - x.sum(1, keepdim=True) / count).masked_fill(behind, 0.0)
    variance = x.square().sum(1, keepdim=True) / count  # [B, 1, D]
    return x * (variance + _EPSILON).rsqrt()
