"""wav → z → c: the group norm and the activations of encoder, context network and quantizers.

Shapes: B batch, T frames, C channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
