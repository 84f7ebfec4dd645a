"""wav → z → c: the normalisation and the activation that encoder and context network share.

Shapes: B batch, T frames, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class ClipNorm:
    """A group norm whose statistics are known: one multiplication and one addition a channel."""

    scale: Tensor  # [O]
    shift: Tensor  # [O]


class Moments:
    """Mean and variance of a layer's outputs, piece by piece, each group's for itself."""

    def __init__(self, groups: int) -> None:
        self.groups, self.count = groups, 0
        self.mean = torch.zeros(groups, dtype=torch.float64)
        self.spread = torch.zeros(groups, dtype=torch.float64)

    def add(self, y: Tensor) -> None:  # [n, O]
        parts = y.float().view(len(y), self.groups, -1).transpose(0, 1).reshape(self.groups, -1)
        size = parts.size(1)
        mean = parts.mean(1, keepdim=True)
        apart = parts - mean
        # the piece's mean in fp32 is not quite its mean: what it is off is put right in fp64
        off, spread = apart.sum(1).double().cpu() / size, apart.square().sum(1).double().cpu()
        here = mean[:, 0].double().cpu() + off
        total = self.count + size
        step = here - self.mean
        self.spread += spread - size * off.square() + step.square() * (self.count * size / total)
        self.mean += step * (size / total)
        self.count = total

    def norm(self, norm: nn.GroupNorm) -> ClipNorm:
        return clip_norm(self.mean, self.spread / self.count, norm)


def clip_norm(mean: Tensor, variance: Tensor, norm: nn.GroupNorm) -> ClipNorm:  # [G], [G]
    each = norm.num_channels // norm.num_groups
    gain = (variance + norm.eps).rsqrt().repeat_interleave(each)  # [O]
    scale = gain if norm.weight is None else gain * norm.weight.detach().double().cpu()
    shift = -mean.repeat_interleave(each) * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double().cpu()
    return ClipNorm(scale.float(), shift.float())
