"""wav → z in training: the first two convolutions, without ever storing the first one's long output.

The first layer has one input channel, so a few sums over the audio give its group norm's statistics, and norm
and convolution are one linear map of each patch of samples: cheap enough to do once more in the backward.
Shapes: B batch, S samples, T₁ and T frames of either layer, k and l taps, C channels between them, O out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .conv import (
    at_inputs,
    at_outputs,
    at_points,
    channels_last_conv,
    fold,
    from_inputs,
    from_points,
    pays,
    sliding,
    unfold_grad,
)
from .toom_cook import best_roots, toom_cook

_PIECE = 512  # frames of the second layer at a time: few enough to stay in the processor's cache


def first_layers(wav: Tensor, first: nn.Conv1d, norm: nn.GroupNorm, relu: bool, second: nn.Conv1d) -> Tensor:
    """second(act(norm(first(wav)))) of a norm with one group: [B, S] → [B, T, O]."""
    patches = wav.unfold(1, first.kernel_size[0], first.stride[0])  # [B, T₁, k]
    filters = _normed_filters(patches, first.weight.squeeze(1), norm).to(wav)  # [B, C, k + 1]
    fill = -(patches.size(2) + 1) % 16  # odd sizes of matrices are slow
    patches = torch.cat([patches, torch.ones_like(patches[..., :1])], -1)  # [B, T₁, k + 1]
    patches, filters = F.pad(patches, (0, fill)), F.pad(filters, (0, fill))
    y: Tensor = _FirstLayers.apply(patches, filters, second.weight, second.stride[0], relu)  # type: ignore[no-untyped-call]
    return y


def _normed_filters(patches: Tensor, weight: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Filters [B, C, k + 1] whose last tap, on a constant 1, is the bias: norm and convolution in one."""
    wide = torch.promote_types(patches.dtype, torch.float32)
    patches, weight = patches.to(wide), weight.to(wide)  # [B, T₁, k], [C, k]
    centre, covariance = moments_of_patches(patches)
    gain, shift = norm_of_patches(centre, covariance, weight, norm)  # [B, C] each
    return torch.cat([gain.unsqueeze(-1) * weight, shift.unsqueeze(-1)], -1)


def moments_of_patches(patches: Tensor) -> tuple[Tensor, Tensor]:  # [..., T₁, k]
    """Their mean [..., k] and covariance [..., k, k]."""
    centre = patches.mean(-2)
    apart = patches - centre.unsqueeze(-2)
    return centre, torch.matmul(apart.transpose(-2, -1), apart) / apart.size(-2)


def norm_of_patches(
    centre: Tensor, covariance: Tensor, weight: Tensor, norm: nn.GroupNorm
) -> tuple[Tensor, Tensor]:
    """A first layer's group norm as gain and shift [..., C], from its patches' mean [..., k] and covariance.

    The layer has one input channel, its norm one group: outputs are never looked at.
    """
    means = centre @ weight.T  # [..., C], of each channel
    mean = means.mean(-1, keepdim=True)
    within = ((weight @ covariance) * weight).sum(-1).mean(-1, keepdim=True)
    variance = within + (means - mean).square().mean(-1, keepdim=True)
    gain = (variance + norm.eps).rsqrt().expand_as(means)
    if norm.weight is not None:
        gain = gain * norm.weight.to(gain.dtype)
    shift = -mean * gain if norm.bias is None else norm.bias.to(gain.dtype) - mean * gain
    return gain, shift


class _FirstLayers(torch.autograd.Function):
    """Σ over taps of W · act(filters · patch), a piece of one utterance at a time."""

    @staticmethod
    def forward(
        ctx: Any, patches: Tensor, filters: Tensor, weight: Tensor, stride: int, relu: bool
    ) -> Tensor:
        ctx.save_for_backward(patches, filters, weight)
        ctx.stride, ctx.relu = stride, relu
        frames = (patches.size(1) - weight.size(2)) // stride + 1
        conv = _second(weight, stride, patches, frames)
        y = patches.new_empty(patches.size(0), frames, weight.size(0))
        for b, start, stop in _pieces(patches.size(0), frames):
            x, _ = _hidden(conv, patches[b], filters[b], start, stop, relu)
            y[b, start:stop] = conv.forward(x)[: stop - start]
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        patches, filters, weight = ctx.saved_tensors
        grad, to_filters = grads[0], torch.zeros_like(filters, dtype=_wide(filters))
        frames = grad.size(1)
        conv = _second(weight, ctx.stride, patches, frames)
        for b, start, stop in _pieces(patches.size(0), frames):
            x, before = _hidden(conv, patches[b], filters[b], start, stop, ctx.relu)
            to_x = conv.backward(x, grad[b, start:stop])
            if ctx.relu:
                to_x = torch.ops.aten.threshold_backward(to_x, before, 0)
            else:
                to_x = torch.ops.aten.gelu_backward(to_x, before)
            seen = patches[b, start * ctx.stride :][: to_x.size(0)]
            to_filters[b] += torch.mm(to_x[: seen.size(0)].T, seen)
        return None, to_filters.to(filters), conv.weight_grad().to(weight), None, None


def _pieces(batch: int, frames: int) -> Iterator[tuple[int, int, int]]:
    for b in range(batch):
        for start in range(0, frames, _PIECE):
            yield b, start, min(start + _PIECE, frames)


def _hidden(
    conv: _Tiled | _Direct, patches: Tensor, filters: Tensor, start: int, stop: int, relu: bool
) -> tuple[Tensor, Tensor]:
    """What the second layer sees for frames start … stop, and the same before the activation."""
    size = conv.rows(stop - start)
    seen = patches[start * conv.stride :][:size]
    before = filters.new_empty(size, filters.size(0))
    torch.mm(seen, filters.T, out=before[: seen.size(0)])
    before[seen.size(0) :] = 0
    x = before.relu_() if relu else F.gelu(before)
    return x, before


def _second(weight: Tensor, stride: int, like: Tensor, frames: int) -> _Tiled | _Direct:
    folded = fold(weight, stride)
    roots = best_roots(folded.size(2), frames * like.size(0)) if pays(like, weight) else 0
    return _Tiled(weight, stride, roots) if roots else _Direct(weight, stride)


class _Tiled:
    """The second layer with fewer products."""

    def __init__(self, weight: Tensor, stride: int, roots: int) -> None:
        self.weight, self.stride = weight, stride
        folded = fold(weight, stride)  # [O, s·C, l/s]
        self.form = toom_cook(folded.size(2), roots, weight)
        self.points = at_points(folded, self.form)  # [P, O, s·C]
        self.to_points: Tensor | None = None

    def rows(self, frames: int) -> int:
        return self.form.rows(frames) * self.stride

    def forward(self, x: Tensor) -> Tensor:  # [rows, C] → [≥ frames, O]
        return sliding(self._inputs(x), self.points, self.form)

    def backward(self, x: Tensor, grad: Tensor) -> Tensor:  # [rows, C], [frames, O] → [rows, C]
        form = self.form
        missing = -grad.size(0) % form.hop
        products = at_outputs(F.pad(grad, (0, 0, 0, missing)), form)  # [P, n, O]
        if self.to_points is None:
            self.to_points = torch.zeros_like(self.points, dtype=_wide(self.points))
        if self.to_points.dtype == products.dtype:
            self.to_points.baddbmm_(products.transpose(1, 2), self._inputs(x))
        else:
            self.to_points += torch.bmm(products.transpose(1, 2), self._inputs(x))
        return from_inputs(torch.bmm(products, self.points), form).view(-1, x.size(1))[: x.size(0)]

    def weight_grad(self) -> Tensor:
        if self.to_points is None:
            return torch.zeros_like(self.weight)
        to_points = self.to_points.to(self.points)
        return unfold_grad(from_points(to_points, self.form), self.weight, self.stride)

    def _inputs(self, x: Tensor) -> Tensor:  # [rows, C] → [P, n, s·C]
        return at_inputs(x.view(-1, self.stride * x.size(1)), self.form)


class _Direct:
    """The second layer as the library computes it."""

    def __init__(self, weight: Tensor, stride: int) -> None:
        self.weight, self.stride = weight, stride
        self.to_weight = torch.zeros_like(weight, dtype=_wide(weight))

    def rows(self, frames: int) -> int:
        return (frames - 1) * self.stride + self.weight.size(2)

    def forward(self, x: Tensor) -> Tensor:  # [rows, C] → [frames, O]
        return channels_last_conv(x.unsqueeze(0), self.weight, None, self.stride).squeeze(0)

    def backward(self, x: Tensor, grad: Tensor) -> Tensor:  # [rows, C], [frames, O] → [rows, C]
        to_x, to_weight, _ = torch.ops.aten.convolution_backward(
            grad.T[None, :, None],  # [1, O, 1, T]
            x.T[None, :, None],  # [1, C, 1, T₁]
            self.weight.unsqueeze(2),
            None,
            (1, self.stride),
            (0, 0),
            (1, 1),
            False,
            (0, 0),
            1,
            (True, True, False),
        )
        self.to_weight += to_weight.squeeze(2)
        return to_x[0, :, 0].T  # type: ignore[no-any-return]

    def weight_grad(self) -> Tensor:
        return self.to_weight


def _wide(x: Tensor) -> torch.dtype:
    """Sums over pieces are kept in fp32 at least."""
    return torch.promote_types(x.dtype, torch.float32)
