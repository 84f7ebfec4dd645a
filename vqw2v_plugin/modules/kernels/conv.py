"""wav → z → c in training: convolutions over [B, T, C] with fewer products, or with no changes of layout.

The same sums as `nn.Conv1d`'s, rounded elsewhere; evaluation uses `nn.Conv1d` itself: codes stay stock's.
Shapes: B batch, T frames, C channels in, O out, k taps, m outputs a tile, n tiles, P products a tile.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .toom_cook import ToomCook, best_roots, toom_cook


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None, replicate: bool) -> Tensor:
    """A convolution over k − 1 frames of the past and the present one: [B, T, C] → [B, T, O]."""
    batch, frames, _ = x.shape
    taps = weight.size(2)
    if taps == 1:
        return F.linear(x, weight.squeeze(2), bias)
    roots = best_roots(taps, batch * frames) if pays(x, weight) else 0
    if roots:
        return _tiled_conv(x, weight, bias, taps - 1, replicate, roots)
    lead = x[:, :1].expand(-1, taps - 1, -1) if replicate else x.new_zeros(batch, taps - 1, x.size(2))
    return channels_last_conv(torch.cat([lead, x], 1), weight, bias, 1)


def strided_conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """An unpadded convolution: [B, T_in, C] → [B, T, O]."""
    taps = weight.size(2)
    if taps == 1 and stride == 1:
        return F.linear(x, weight.squeeze(2))
    batch, frames = x.size(0), (x.size(1) - taps) // stride + 1
    folded = fold(weight, stride)  # [O, s·C, k/s]
    roots = best_roots(folded.size(2), batch * frames) if pays(x, weight) else 0
    if not roots:
        return channels_last_conv(x, weight, None, stride)
    rows = frames - 1 + folded.size(2)
    missing = rows * stride - x.size(1)
    x = F.pad(x, (0, 0, 0, missing)) if missing > 0 else x[:, : rows * stride]
    return _tiled_conv(x.reshape(batch, rows, -1), folded, None, 0, False, roots)


def pays(x: Tensor, weight: Tensor) -> bool:
    """Where products are quick, as on matrix units, the passes over memory that save them cost more."""
    if x.device.type != "cpu" or weight.size(1) < 16:
        return False
    return x.dtype in (torch.float32, torch.float64) or not has_matrix_units()


@lru_cache(maxsize=1)
def has_matrix_units() -> bool:
    """AMX: products in bf16 take a tenth of those in fp32, not half."""
    asked = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return asked is None or bool(asked())


def fold(weight: Tensor, stride: int) -> Tensor:  # [O, C, k] → [O, s·C, k/s]
    """The filter for `stride` frames side by side as one, zeros where k is no multiple of s."""
    taps = -(-weight.size(2) // stride)
    folded = F.pad(weight, (0, taps * stride - weight.size(2)))
    folded = folded.view(*weight.shape[:2], taps, stride)  # [O, C, k/s, s]
    return folded.permute(0, 3, 1, 2).flatten(1, 2)


def unfold_grad(folded: Tensor, like: Tensor, stride: int) -> Tensor:  # [O, s·C, k/s] → [O, C, k]
    """What `fold` does, backward."""
    parts = folded.view(folded.size(0), stride, -1, folded.size(2)).permute(0, 2, 3, 1)  # [O, C, k/s, s]
    return parts.flatten(2)[..., : like.size(2)]


def channels_last_conv(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """A 2-D convolution over one row, which reads and writes [B, T, C] as it lies."""
    image = x.transpose(1, 2).unsqueeze(2)  # [B, C, 1, T]
    y = F.conv2d(image, weight.unsqueeze(2), bias, (1, stride))  # [B, O, 1, T]
    return y.squeeze(2).transpose(1, 2)


def _tiled_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, left: int, replicate: bool, roots: int
) -> Tensor:
    y: Tensor = _TiledConv.apply(x, weight, bias, left, replicate, roots)  # type: ignore[no-untyped-call]
    return y


class _TiledConv(torch.autograd.Function):
    """y[t] = Σₖ W[k] x[t + k − left] by tiles of m outputs; the batch is one stream of frames."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, left: int, replicate: bool, roots: int
    ) -> Tensor:
        form = toom_cook(weight.size(2), roots, x)
        ctx.save_for_backward(x, weight)
        ctx.left, ctx.replicate, ctx.form, ctx.biased = left, replicate, form, bias is not None
        frames = x.size(1) + left - weight.size(2) + 1
        # before the temporaries, which then leave no hole behind
        y = x.new_empty(x.size(0), frames, weight.size(0))  # [B, T, O]
        stream, rows = _stream(x, left, replicate, form)  # [n·m + k − 1, C]
        inputs = at_inputs(stream, form)  # [P, n, C]
        del stream  # as large as x; what follows is larger
        for part in _parts(weight, form):
            part_bias = None if bias is None else bias[part]
            found = sliding(inputs, at_points(weight[part], form), form, part_bias)  # [n·m, O]
            y[..., part] = _utterances(found, x.size(0), rows)[:, : y.size(1)]
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        form, grad = ctx.form, grads[0]
        to_bias, to_weight = grad.sum((0, 1)) if ctx.biased else None, torch.empty_like(weight)
        stream, rows = _stream(x, ctx.left, ctx.replicate, form)
        inputs = at_inputs(stream, form)
        del stream
        to_inputs = torch.zeros_like(inputs)  # [P, n, C]
        spread = grad.new_zeros(inputs.size(1) * form.hop, grad.size(2))  # [n·m, O]
        _utterances(spread, x.size(0), rows)[:, : grad.size(1)] = grad
        for part in _parts(weight, form):
            products = at_outputs(spread[:, part], form)  # [P, n, O]
            to_weight[part] = from_points(torch.bmm(products.transpose(1, 2), inputs), form)
            to_inputs.baddbmm_(products, at_points(weight[part], form))
        del inputs, spread, products
        to_stream = _utterances(from_inputs(to_inputs, form), x.size(0), rows)
        to_x = to_stream[:, ctx.left :]
        if ctx.replicate and ctx.left:
            to_x[:, 0] += to_stream[:, : ctx.left].sum(1)
        return to_x, to_weight, to_bias, None, None, None


def _parts(weight: Tensor, form: ToomCook) -> list[slice]:
    """Output channels so many at a time that their transformed filters stay in the processor's cache."""
    size = max(64, _CACHED // (form.inputs.size(0) * weight.size(1) * 64) * 64)
    return [slice(i, i + size) for i in range(0, weight.size(0), size)]


_CACHED = 2**22  # numbers


def _utterances(stream: Tensor, batch: int, rows: int) -> Tensor:  # [≥ B·rows, C] → [B, rows, C]
    return stream[: batch * rows].view(batch, rows, -1)


def _stream(x: Tensor, left: int, replicate: bool, form: ToomCook) -> tuple[Tensor, int]:
    """All utterances, each padded by `left` frames, one after the other; also the frames of one."""
    batch, frames, dim = x.shape
    rows = frames + left
    stream = x.new_empty(form.rows(batch * rows), dim)
    stream[batch * rows :] = 0
    padded = stream[: batch * rows].view(batch, rows, dim)
    padded[:, left:] = x
    if left:
        padded[:, :left] = x[:, :1] if replicate else 0
    return stream, rows


def sliding(inputs: Tensor, points: Tensor, form: ToomCook, bias: Tensor | None = None) -> Tensor:
    """Σₖ W[k] x[t + k] for every t, of what `at_inputs` and `at_points` give: [n·m, O]."""
    products = torch.bmm(inputs, points.transpose(1, 2))  # [P, n, O]
    if bias is not None:
        products[form.POINT_ONE] += bias
    y = torch.bmm(form.outputs.expand(products.size(1), -1, -1), products.transpose(0, 1))  # [n, m, O]
    return y.view(-1, y.size(2))


def at_inputs(stream: Tensor, form: ToomCook) -> Tensor:  # [n·m + k − 1, C] → [P, n, C]
    dim, tiles = stream.size(1), (stream.size(0) - form.seen) // form.hop + 1
    view = stream.as_strided((tiles, form.seen, dim), (form.hop * dim, dim, 1))  # [n, N, C]
    return torch.bmm(form.inputs.expand(tiles, -1, -1), view).transpose(0, 1)


def from_inputs(grad: Tensor, form: ToomCook) -> Tensor:  # [P, n, C] → [≥ n·m + k − 1, C]
    """What `at_inputs` does, backward."""
    tiles = grad.size(1)
    parts = torch.bmm(form.inputs.T.expand(tiles, -1, -1), grad.transpose(0, 1))  # [n, N, C]
    out = parts.new_zeros(tiles + form.seen // form.hop, form.hop, parts.size(2))
    for i, start in enumerate(range(0, form.seen, form.hop)):  # tiles overlap
        part = parts[:, start : start + form.hop]
        out[i : i + tiles, : part.size(1)] += part
    return out.view(-1, out.size(2))


def at_outputs(grad: Tensor, form: ToomCook) -> Tensor:  # [n·m, O] → [P, n, O]
    tiled = grad.view(-1, form.hop, grad.size(1))  # [n, m, O]
    return torch.bmm(form.outputs.T.expand(tiled.size(0), -1, -1), tiled).transpose(0, 1)


def at_points(weight: Tensor, form: ToomCook) -> Tensor:  # [O, C, k] → [P, O, C]
    return torch.mm(form.taps, weight.flatten(0, 1).T).view(-1, *weight.shape[:2])


def from_points(grad: Tensor, form: ToomCook) -> Tensor:  # [P, O, C] → [O, C, k]
    """What `at_points` does, backward."""
    return torch.mm(form.taps.T, grad.flatten(1)).T.contiguous().view(*grad.shape[1:], -1)
