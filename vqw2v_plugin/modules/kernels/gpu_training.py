"""wav → z → c in training on a GPU: blocks of convolution, group norm and activation in few, large calls.

All lies as [B, T, C], as tensor cores like it. A layer's output is written with what the next one pads it by;
the first layer's long one is not kept.
Shapes: B batch, T frames, C channels in, O out, k taps, P parts of an utterance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import norm_parts
from .cpu_training import ContextLike, EncoderLike
from .launching import pays
from .lay_out import lay_out
from .norm_parts import Layer, gathered, norm_backward, normed


def takes_over(module: nn.Module, x: Tensor) -> bool:
    """In training, and where nobody wants gradients.

    Autocast, which knows the plain form's layers, is left to that, and so is `torch.compile`.
    """
    used = module.training or not torch.is_grad_enabled()
    if not used or not pays(x) or x.dtype == torch.float64:
        return False
    return not torch.is_autocast_enabled("cuda") and not torch.compiler.is_compiling()


def encoder_blocks(wav: Tensor, blocks: Sequence[EncoderLike], log: bool) -> Tensor:  # [B, S] → [B, T, C]
    """Without residuals. `log`: log(1 + ·) of the last one's output, which is to be never negative."""
    layers = [_layer(block, first=i == 0) for i, block in enumerate(blocks)]
    layers[-1] = replace(layers[-1], log=log)
    conv = blocks[0].conv
    taps = conv.kernel_size[0]
    patches = F.pad(
        wav.unfold(1, taps, conv.stride[0]), (0, -taps % 16)
    )  # [B, T, k + fill]: sizes that are quick
    return _run(patches, layers, [_weights(block) for block in blocks])


def context_blocks(x: Tensor, blocks: Sequence[ContextLike]) -> Tensor:  # [B, T, C] → [B, T, O]
    layers = [
        replace(
            _layer(block),
            lead=block.conv.kernel_size[0] - 1,
            replicate=block.pad_mode == "replicate",
            skip=block.skip,
            scale=block.residual_scale if block.skip else 1.0,
        )
        for block in blocks
    ]
    return _run(x.contiguous(), layers, [_weights(block) for block in blocks])


def can_run(blocks: Sequence[ContextLike]) -> bool:
    """Neither dropout nor residuals with weights, which are the plain form's."""
    return all(block.residual is None and not getattr(block.dropout, "p", 0.0) for block in blocks)


def _layer(block: EncoderLike, first: bool = False) -> Layer:
    conv, relu = block.conv, isinstance(block.activation, nn.ReLU)
    return Layer(conv.kernel_size[0], conv.stride[0], relu, block.norm.eps, first=first)


_Weights = tuple[Tensor, "Tensor | None", "Tensor | None", "Tensor | None"]  # convolution's, and its norm's


def _weights(block: EncoderLike) -> _Weights:
    return block.conv.weight, block.conv.bias, block.norm.weight, block.norm.bias


def _run(x: Tensor, layers: Sequence[Layer], weights: Sequence[_Weights]) -> Tensor:
    y: Tensor = _Blocks.apply(x, tuple(layers), *(w for four in weights for w in four))  # type: ignore[no-untyped-call]
    return y


class _Blocks(torch.autograd.Function):
    """Keeps each layer's input and its convolution's output, and of a first layer neither output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: tuple[Layer, ...], *weights: Tensor | None) -> Tensor:
        kept: list[Tensor | None] = []
        x = _padded(x, layers[0])
        for shaped, (layer, after, four) in zip(
            _shaped(weights, layers), _with_next(layers, weights), strict=True
        ):
            y = _convolve(x, shaped, layer)
            out, stats = normed(
                x, y, four, layer, after.lead if after else 0, bool(after and after.replicate)
            )
            was_first = len(kept) > 0 and layers[0].first and len(kept) == 4
            kept += [None if was_first else x, shaped, None if layer.first else y, stats]
            x = out
        ctx.layers = layers
        ctx.save_for_backward(*kept, *weights)
        ctx.centrings = [getattr(weight, "centring", None) for weight in weights[::4]]
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        layers, saved = ctx.layers, ctx.saved_tensors
        kept, weights = saved[: 4 * len(layers)], saved[4 * len(layers) :]
        found: list[Tensor | None] = [None] * len(weights)
        ahead, after, beside, columns = grads[0].contiguous(), None, None, _columns(layers, weights, grads[0])
        for i in reversed(range(len(layers))):
            layer, four = layers[i], weights[4 * i : 4 * i + 4]
            x, shaped, y, stats = kept[4 * i : 4 * i + 4]
            if y is None:
                y = _convolve(x, shaped, layer)
            if x is None:  # what the first layer gave
                first = kept[:4]
                again = _convolve(first[0], first[1], layers[0])
                x = normed(first[0], again, weights[:4], layers[0], layer.lead, layer.replicate)[0]
                del again
            to_y, out = norm_backward(ahead, beside, y, stats, four, layer, after, columns[i])
            del y
            ahead, to_weight = _convolve_backward(to_y, x, shaped, layer, ctx.needs_input_grad[0] or i > 0)
            found[4 * i] = to_weight
            beside, after = out if layer.skip else None, layer
        found[::4] = lay_out([grad for grad in found[::4] if grad is not None], ctx.centrings)
        for i, sums in enumerate(_summed(columns, layers, weights)):
            for j, at in ((1, 2), (2, 0), (3, 1)):
                found[4 * i + j] = sums[at] if weights[4 * i + j] is not None else None
        to_x = gathered(ahead, beside, layers[0]) if ctx.needs_input_grad[0] else None
        return to_x, None, *found


def _with_next(
    layers: Sequence[Layer], weights: Sequence[Tensor | None]
) -> list[tuple[Layer, Layer | None, Sequence[Tensor | None]]]:
    after = [*layers[1:], None]
    return [(layer, after[i], weights[4 * i : 4 * i + 4]) for i, layer in enumerate(layers)]


def _padded(x: Tensor, layer: Layer) -> Tensor:
    if not layer.lead:
        return x
    first = (
        x[:, :1].expand(-1, layer.lead, -1) if layer.replicate else x.new_zeros(len(x), layer.lead, x.size(2))
    )
    return torch.cat([first, x], 1)


def _shaped(weights: Sequence[Tensor | None], layers: Sequence[Layer]) -> list[Tensor]:
    """As the library's products want them: [O, k + fill], [O, C], or [O, C, 1, k] with channels last."""
    found = [weight.detach() for weight in weights[::4] if weight is not None]
    long = [i for i, layer in enumerate(layers) if not layer.first and not layer.taps == layer.stride == 1]
    for i, layer in enumerate(layers):
        found[i] = F.pad(found[i].squeeze(1), (0, -layer.taps % 16)) if layer.first else found[i]
        found[i] = found[i].squeeze(2) if found[i].dim() == 3 and i not in long else found[i]
    for i, copy in zip(long, lay_out([found[i].transpose(1, 2) for i in long]), strict=True):
        found[i] = copy.transpose(1, 2).unsqueeze(2)
    return found


def _convolve(x: Tensor, shaped: Tensor, layer: Layer) -> Tensor:  # [B, T_in, C] → [B, T, O]
    if shaped.dim() == 2:
        return torch.mm(x.flatten(0, 1), shaped.T).view(*x.shape[:2], -1)
    image = x.transpose(1, 2).unsqueeze(2)  # [B, C, 1, T_in], channels last
    y = torch.ops.aten.convolution(image, shaped, None, [1, layer.stride], [0, 0], [1, 1], False, [0, 0], 1)
    return y.squeeze(2).transpose(1, 2).contiguous()  # type: ignore[no-any-return]


def _convolve_backward(
    to_y: Tensor, x: Tensor, shaped: Tensor, layer: Layer, needs_x: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of x [B, T_in, C] and of the weight [O, C, k]."""
    if shaped.dim() == 2:
        flat = to_y.flatten(0, 1)  # [B·T, O]
        to_weight = torch.mm(flat.T, x.flatten(0, 1))  # [O, C] or [O, k + fill]
        to_x = torch.mm(flat, shaped).view_as(x) if needs_x else x
        return to_x, to_weight[:, None, : layer.taps] if layer.first else to_weight.unsqueeze(2)
    to_image, to_weight, _ = torch.ops.aten.convolution_backward(
        to_y.transpose(1, 2).unsqueeze(2), x.transpose(1, 2).unsqueeze(2), shaped, None, [1, layer.stride],
        [0, 0], [1, 1], False, [0, 0], 1, [needs_x, True, False],
    )  # fmt: skip
    return to_image.squeeze(2).transpose(1, 2).contiguous() if needs_x else x, to_weight.squeeze(2)


def _columns(layers: Sequence[Layer], weights: Sequence[Tensor | None], grad: Tensor) -> list[Tensor]:
    """Sums by channel [3, B · P, O] a layer: for its norm's weight and bias, and its convolution's bias."""
    dims = [weight.size(0) for weight in weights[::4] if weight is not None]
    rows = 3 * len(grad) * norm_parts.PARTS
    whole = grad.new_empty(rows * sum(dims), dtype=torch.float32)
    parts = torch.split(whole, [rows * dim for dim in dims])
    return [part.view(3, -1, dim) for part, dim in zip(parts, dims, strict=True)]


def _summed(
    columns: Sequence[Tensor], layers: Sequence[Layer], weights: Sequence[Tensor | None]
) -> list[Tensor]:  # [3, O] a layer
    like = weights[0]
    assert like is not None
    dims = {part.size(2) for part in columns}
    if len(dims) > 1:
        return [part.sum(1).to(like.dtype) for part in columns]
    together = columns[0].as_strided(
        (len(columns), *columns[0].shape), (columns[0].numel(), *columns[0].stride())
    )
    return list(together.sum(2).to(like.dtype).unbind())
