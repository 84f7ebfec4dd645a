"""wav → z in training on a CPU: wav2vec 2.0's convolutions, over utterances that lie one after the other.

Kept for the gradient is what a layer's norm and GELU are given, and of the first layer, which is the longest,
nothing: norms of frames and GELU are made again, piece by piece, while a piece is in the processor's cache.
The sums are those of the plain layers, rounded elsewhere.
Shapes: N frames of all utterances, n of a piece, B utterances, C channels in, O out, k taps; P of a filter of
the first layer: its taps, one on a constant 1, and zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .first_layers import moments_of_patches
from .frame_conv import FrameConv

_PIECE = {torch.bfloat16: 1536}  # frames out, as many as stay in the processor's cache
_USUAL_PIECE = 768


class BlockLike(Protocol):
    """A block GELU(norm(conv(x))); one norm or none."""

    conv: nn.Conv1d

    @property
    def over_time(self) -> nn.GroupNorm | None: ...  # of each channel
    @property
    def over_channels(self) -> nn.LayerNorm | None: ...


def can_hear(blocks: Sequence[BlockLike]) -> bool:
    """Whether these functions stand in for the blocks."""
    first, *others = blocks
    plain = first.conv.bias is None or first.over_time is None
    return bool(others) and plain and all(block.over_time is None for block in others)


def encoder_blocks(
    wav: Tensor, samples: Sequence[int], blocks: Sequence[BlockLike]
) -> tuple[Tensor, list[int]]:
    """[B, S] → [N, C], and each utterance's frames; of each only its own samples are looked at."""
    first, *others = blocks
    taps, stride = first.conv.kernel_size[0], first.conv.stride[0]
    each = [row[:size].unfold(0, taps, stride) for row, size in zip(wav, samples, strict=True)]  # [T, k]
    frames = [len(patches) for patches in each]
    filters: Tensor | None = _filters(first, each)  # [B, O, P]
    ones = wav.new_ones(sum(frames), 1)
    x = torch.cat([torch.cat(each), ones], 1)
    x = F.pad(x, (0, _fill(taps)))  # [N, P]
    before = first
    for block in others:
        x = _convolved(x, filters, before, block, frames)
        filters, before = None, block
        frames = [(size - block.conv.kernel_size[0]) // block.conv.stride[0] + 1 for size in frames]
    return F.gelu(normed(x, *_norm_of(before))), frames


def _convolved(
    x: Tensor, filters: Tensor | None, before: BlockLike, block: BlockLike, frames: Sequence[int]
) -> Tensor:
    weight, bias, eps = _norm_of(before)
    conv = block.conv
    y: Tensor = _GeluConv.apply(  # type: ignore[no-untyped-call]
        x, filters, conv.weight, conv.bias, weight, bias, eps, conv.stride[0], tuple(frames)
    )
    return y


def _norm_of(block: BlockLike) -> tuple[Tensor | None, Tensor | None, float]:
    norm = block.over_channels
    return (None, None, 0.0) if norm is None else (norm.weight, norm.bias, norm.eps)


def _fill(taps: int) -> int:
    return -(taps + 1) % 16  # odd sizes of matrices are slow


def _filters(block: BlockLike, each: Sequence[Tensor]) -> Tensor:  # B times [T, k] → [B, O, P]
    """The first layer's of each utterance; where it has a norm over time, convolution and norm are one."""
    wide = torch.promote_types(each[0].dtype, torch.float32)
    weight = block.conv.weight.squeeze(1).to(wide)  # [O, k]
    bias = weight.new_zeros(len(weight)) if block.conv.bias is None else block.conv.bias.to(wide)
    norm, found = block.over_time, []
    for patches in each:
        if norm is None:
            found.append(torch.cat([weight, bias[:, None]], 1))
            continue
        centre, covariance = moments_of_patches(patches.to(wide))
        variance = ((weight @ covariance) * weight).sum(-1)  # [O], of each channel
        gain = (variance + norm.eps).rsqrt() * norm.weight.to(wide)
        shift = norm.bias.to(wide) - (weight @ centre) * gain
        found.append(torch.cat([weight * gain[:, None], shift[:, None]], 1))
    return F.pad(torch.stack(found), (0, _fill(weight.size(1)))).to(each[0])


def normed(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Layer norm in fp32 at least, or none."""
    if weight is None or bias is None:
        return x
    wide = torch.promote_types(x.dtype, torch.float32)
    return F.layer_norm(x.to(wide), (x.size(-1),), weight.to(wide), bias.to(wide), eps).to(x)


class _Before:
    """What a layer hears of the one before: GELU(norm(x)), or GELU(norm(filters · x)) of the first."""

    def __init__(
        self, x: Tensor, filters: Tensor | None, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> None:
        """x [N, C], or [N, P] with filters [B, C, P]; weight and bias are the norm's."""
        self.x, self.filters, self.weight, self.bias, self.eps = x, filters, weight, bias, eps
        wide = torch.promote_types(x.dtype, torch.float32)
        self.to_filters, self.to_weight, self.to_bias = (
            None if each is None else torch.zeros_like(each, dtype=wide) for each in (filters, weight, bias)
        )

    def plain(self, number: int, rows: slice) -> Tensor:  # [rows, C]
        """Before norm and GELU."""
        x = self.x[rows]
        return x if self.filters is None else torch.mm(x, self.filters[number].T)

    def heard(self, plain: Tensor) -> Tensor:
        return F.gelu(normed(plain, self.weight, self.bias, self.eps))

    def backward(self, plain: Tensor, grad: Tensor) -> Tensor:  # [rows, C]
        """The gradient of `plain`; those of the norm add up."""
        if self.weight is None or self.bias is None or self.to_weight is None or self.to_bias is None:
            return torch.ops.aten.gelu_backward(grad, plain)  # type: ignore[no-any-return]
        wide = self.to_weight.dtype
        x, weight, bias = plain.to(wide), self.weight.to(wide), self.bias.to(wide)
        y, mean, rstd = torch.native_layer_norm(x, [x.size(-1)], weight, bias, self.eps)
        to_y = torch.ops.aten.gelu_backward(grad.to(wide), y.to(plain).to(wide))
        to_x, to_weight, to_bias = torch.ops.aten.native_layer_norm_backward(
            to_y, x, [x.size(-1)], mean, rstd, weight, bias, [True, True, True]
        )
        self.to_weight += to_weight
        self.to_bias += to_bias
        return to_x.to(plain)  # type: ignore[no-any-return]

    def add_filters(self, number: int, rows: slice, to_plain: Tensor) -> None:
        if self.to_filters is not None:
            self.to_filters[number] += torch.mm(to_plain.T, self.x[rows])


class _GeluConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        filters: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        norm_weight: Tensor | None,
        norm_bias: Tensor | None,
        eps: float,
        stride: int,
        frames: Sequence[int],
    ) -> Tensor:  # [N, O]
        ctx.save_for_backward(x, filters, weight, bias, norm_weight, norm_bias)
        ctx.eps, ctx.stride, ctx.frames = eps, stride, frames
        conv = FrameConv(weight, bias, stride)
        before = _Before(x, filters, norm_weight, norm_bias, eps)
        y = x.new_empty(sum((size - conv.taps) // stride + 1 for size in frames), weight.size(0))
        for number, rows, made in _pieces(frames, conv, x.dtype):
            conv.forward(before.heard(before.plain(number, rows)), y[made])
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, filters, weight, bias, norm_weight, norm_bias = ctx.saved_tensors
        conv = FrameConv(weight, None, ctx.stride)
        before = _Before(x, filters, norm_weight, norm_bias, ctx.eps)
        grad = grads[0].contiguous()
        to_x = torch.zeros_like(x) if filters is None else None
        for number, rows, made in _pieces(ctx.frames, conv, x.dtype):
            plain = before.plain(number, rows)
            to_plain = before.backward(plain, conv.backward(before.heard(plain), grad[made]))
            if to_x is None:
                before.add_filters(number, rows, to_plain)
            else:
                to_x[rows] += to_plain  # pieces overlap
        totals = (before.to_filters, conv.weight_grad(), grad.sum(0) if bias is not None else None)
        norms = (before.to_weight, before.to_bias)
        like = (filters, weight, bias, norm_weight, norm_bias)
        found = [None if a is None else a.to(b) for a, b in zip((*totals, *norms), like, strict=True)]
        return to_x, *found, None, None, None


def _pieces(frames: Sequence[int], conv: FrameConv, dtype: torch.dtype) -> Iterator[tuple[int, slice, slice]]:
    """Of each utterance: its number, rows of x, and rows of y that are made of them."""
    size = _PIECE.get(dtype, _USUAL_PIECE)
    begin = first = 0
    for number, length in enumerate(frames):
        count = (length - conv.taps) // conv.stride + 1
        for start in range(0, count, size):
            here = min(size, count - start)
            top = begin + start * conv.stride
            yield number, slice(top, top + conv.rows(here)), slice(first + start, first + start + here)
        begin, first = begin + length, first + count
