"""wav → z → c in training on a CPU: the blocks of encoder and context network, with less work.

The sums of the plain modules with fewer products and passes over memory, rounded elsewhere.
Shapes: B batch, S samples, T frames, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .conv import causal_conv, strided_conv
from .first_layers import first_layers
from .norm_act import norm_act

Skip = Callable[[Tensor, Tensor], Tensor | None]  # input and output of a block, [B, T, C] → what is added


class EncoderLike(Protocol):
    """A block act(norm(conv(x))), its norm with one group."""

    conv: nn.Conv1d
    norm: nn.GroupNorm
    activation: nn.Module


class ContextLike(Protocol):
    """A block act(norm(dropout(conv(x)))) over the past, `skip` with a residual."""

    conv: nn.Conv1d
    norm: nn.GroupNorm
    activation: nn.Module
    dropout: nn.Module
    pad_mode: str
    skip: bool
    residual: nn.Conv1d | None
    residual_scale: float


def takes_over(module: nn.Module, x: Tensor) -> bool:
    """Where these functions stand in for a module's plain form; evaluation keeps to it, for stock's codes.

    So does autocast, which knows the layers of the plain form and in which types each may be computed.
    """
    return module.training and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def encoder_blocks(wav: Tensor, blocks: Sequence[EncoderLike], skip: Skip | None, scale: float) -> Tensor:
    """[B, S] → [B, T, C]; a sum with what `skip` gives is multiplied by `scale`."""
    x = wav.unsqueeze(2)  # [B, S, 1]
    if len(blocks) > 1 and skip is None:
        first, second = blocks[:2]
        relu = isinstance(first.activation, nn.ReLU)
        y = first_layers(wav, first.conv, first.norm, relu, second.conv)
        x, blocks = norm_act(y, second.norm, second.activation), blocks[2:]
    for block in blocks:
        y = strided_conv(x, block.conv.weight, block.conv.stride[0])
        added = skip(x, y) if skip else None  # [B, T, C]
        x = norm_act(y, block.norm, block.activation, added, scale)
    return x


def context_blocks(x: Tensor, blocks: Sequence[ContextLike]) -> Tensor:  # [B, T, C]
    for block in blocks:
        y = causal_conv(x, block.conv.weight, block.conv.bias, block.pad_mode == "replicate")
        added = None
        if block.skip:
            added = x if block.residual is None else F.linear(x, block.residual.weight.squeeze(2))
        x = norm_act(block.dropout(y), block.norm, block.activation, added, block.residual_scale)
    return x
