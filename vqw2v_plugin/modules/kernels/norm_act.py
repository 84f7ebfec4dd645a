"""wav → z → c in training: norm and activation in as few passes over memory as there can be.

Shapes: B batch, T frames, C channels, G groups.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def norm_act(
    x: Tensor, norm: nn.GroupNorm, act: nn.Module, skip: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """act(norm(x)), or (act(norm(x)) + skip) · scale, in as few passes over [B, T, C] as there can be."""
    relu = isinstance(act, nn.ReLU)
    y: Tensor = _NormAct.apply(x, norm.weight, norm.bias, skip, norm.num_groups, norm.eps, relu, scale)  # type: ignore[no-untyped-call]
    return y


class _NormAct(torch.autograd.Function):
    """Keeps only the norm's input and its statistics; what else the backward needs, it computes again."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        skip: Tensor | None,
        groups: int,
        eps: float,
        relu: bool,
        scale: float,
    ) -> Tensor:
        image = x.transpose(1, 2).unsqueeze(2).contiguous(memory_format=torch.channels_last)  # [B, C, 1, T]
        y, mean, rstd = _norm(image, weight, bias, groups, eps)
        ctx.save_for_backward(image, weight, bias, mean, rstd)
        ctx.groups, ctx.eps, ctx.relu, ctx.scale, ctx.skips = groups, eps, relu, scale, skip is not None
        y = torch.relu_(y) if relu else F.gelu(y)
        y = y.squeeze(2).transpose(1, 2)  # [B, T, C]
        return y if skip is None else y.add_(skip).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        image, weight, bias, mean, rstd = ctx.saved_tensors
        grad = grads[0] * ctx.scale if ctx.skips else grads[0]
        y, _, _ = _norm(image, weight, bias, ctx.groups, ctx.eps)
        to_y = grad.transpose(1, 2).unsqueeze(2)  # [B, C, 1, T]
        if ctx.relu:
            to_y = torch.ops.aten.threshold_backward(to_y, y, 0)
        else:
            to_y = torch.ops.aten.gelu_backward(to_y, y)
        wide = None if weight is None else weight.to(mean)
        batch, dim, _, frames = image.shape
        to_image, to_weight, to_bias = torch.ops.aten.native_group_norm_backward(
            to_y.contiguous(memory_format=torch.channels_last),
            image,
            mean,
            rstd,
            wide,
            batch,
            dim,
            frames,
            ctx.groups,
            [True, weight is not None, bias is not None],
        )
        if weight is not None:
            to_weight, to_bias = to_weight.to(weight), to_bias.to(weight)
        to_x = to_image.squeeze(2).transpose(1, 2)
        return to_x, to_weight, to_bias, grad if ctx.skips else None, None, None, None, None


def _norm(
    image: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised [B, C, 1, T], means and 1 / deviations [B, G]; these and all sums are fp32 for bf16 too."""
    wide = torch.promote_types(image.dtype, torch.float32)
    batch, dim, _, frames = image.shape
    weight = torch.ones(dim, dtype=wide, device=image.device) if weight is None else weight.to(wide)
    bias = torch.zeros(dim, dtype=wide, device=image.device) if bias is None else bias.to(wide)
    return torch.native_group_norm(image, weight, bias, batch, dim, frames, groups, eps)
