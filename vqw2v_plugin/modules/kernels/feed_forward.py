"""states: a Transformer's feed-forward block as training on a CPU has it: little is kept for the gradient.

Kept are its input and what the activation is given; the activation and its dropout, four times as wide as a
state each, are made again.
Shapes: N frames, D model, H inside.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dropout import keep_mask

ACTIVATIONS = (F.gelu, F.relu)  # those that are known here


def feed_forward(x: Tensor, fc1: nn.Linear, fc2: nn.Linear, relu: bool, dropout: float) -> Tensor:
    """fc2(dropout(activation(fc1(x)))): [N, D] → [N, D]."""
    y: Tensor = _FeedForward.apply(x, fc1.weight, fc1.bias, fc2.weight, fc2.bias, relu, dropout)  # type: ignore[no-untyped-call]
    return y


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, shift: Tensor, relu: bool, p: float
    ) -> Tensor:
        before = torch.addmm(bias, x, weight.T)  # [N, H]
        # of the default generator, so a training's seed rules
        ctx.seed = int(torch.randint(1 << 62, ())) if p else 0
        ctx.relu, ctx.p = relu, p
        ctx.save_for_backward(x, before, weight, out)
        inner, _ = _inner(before, relu, p, ctx.seed)
        return torch.addmm(shift, inner, out.T)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, before, weight, out = ctx.saved_tensors
        grad = grads[0].contiguous()
        inner, mask = _inner(before, ctx.relu, ctx.p, ctx.seed)
        to_out = torch.mm(grad.T, inner)  # [D, H]
        to_inner = torch.mm(grad, out, out=inner)  # in its place
        if mask is not None:
            to_inner.mul_(mask)
        if ctx.relu:
            to_before = torch.ops.aten.threshold_backward(to_inner, before, 0)
        else:
            to_before = torch.ops.aten.gelu_backward(to_inner, before)
        to_weight, to_x = torch.mm(to_before.T, x), torch.mm(to_before, weight)
        return to_x, to_weight, to_before.sum(0), to_out, grad.sum(0), None, None


def _inner(before: Tensor, relu: bool, p: float, seed: int) -> tuple[Tensor, Tensor | None]:
    """What the second layer hears, and what it was multiplied by."""
    inner = F.relu(before) if relu else F.gelu(before)
    if not p:
        return inner, None
    generator = torch.Generator().manual_seed(seed)
    mask = keep_mask(inner.shape, p, inner.dtype, generator).mul_(1 / (1 - p))
    return inner.mul_(mask), mask
