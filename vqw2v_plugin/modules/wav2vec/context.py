"""z ──context network──▶ c: causal convolutions or a GRU over frames (arXiv 1904.05862 §2.1).

Shapes: B batch, T frames, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from ..kernels import cpu_training, gpu_training
from ..layers.conv_spec import ConvLayer
from ..layers.norm import GroupNorm32, make_activation


class ContextBlock(nn.Module):
    """Left-padded convolution, dropout, norm, activation; with `skip`, a scaled residual around them."""

    def __init__(
        self,
        dim_in: int,
        layer: ConvLayer,
        *,
        activation: str,
        dropout: float,
        affine: bool,
        bias: bool,
        zero_pad: bool,
        skip: bool,
        residual_scale: float,
    ) -> None:
        super().__init__()
        if layer.stride != 1:
            raise ValueError(
                f"context layer {layer} has stride {layer.stride}; the context network keeps every frame"
            )
        self.left = layer.kernel - 1
        self.pad_mode = "constant" if zero_pad else "replicate"
        self.conv = nn.Conv1d(dim_in, layer.dim, layer.kernel, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.norm: nn.GroupNorm = GroupNorm32(1, layer.dim, affine=affine)
        self.activation = make_activation(activation)
        self.skip = skip
        self.residual = nn.Conv1d(dim_in, layer.dim, 1, bias=False) if skip and dim_in != layer.dim else None
        self.residual_scale = math.sqrt(residual_scale)

    def forward(self, x: Tensor) -> Tensor:  # [B, C_in, T] → [B, C, T]
        padded = F.pad(x, (self.left, 0), mode=self.pad_mode) if self.left else x
        y: Tensor = self.activation(self.norm(self.dropout(self.conv(padded))))
        if not self.skip:
            return y
        return (y + (x if self.residual is None else self.residual(x))) * self.residual_scale


class ConvContext(nn.Module):
    """The aggregator: 12 causal layers of kernel 2…13 in the paper, so c sees about 0.8 s of the past."""

    def __init__(
        self,
        dim_in: int,
        layers: Sequence[ConvLayer],
        activation: str = "relu",
        dropout: float = 0.0,
        affine: bool = True,
        bias: bool = True,
        zero_pad: bool = False,
        skip_connections: bool = True,
        residual_scale: float = 0.5,
    ) -> None:
        super().__init__()
        dims_in = [dim_in, *(layer.dim for layer in layers)]
        self.layers = nn.ModuleList(
            ContextBlock(
                d,
                layer,
                activation=activation,
                dropout=dropout,
                affine=affine,
                bias=bias,
                zero_pad=zero_pad,
                skip=skip_connections,
                residual_scale=residual_scale,
            )
            for d, layer in zip(dims_in, layers, strict=False)
        )
        self.dim = layers[-1].dim

    def forward(self, z: Tensor) -> Tensor:  # [B, T, C] → [B, T, C]
        if cpu_training.takes_over(self, z):
            return cpu_training.context_blocks(z, list(self.layers))  # type: ignore[arg-type]
        if gpu_training.takes_over(self, z) and gpu_training.can_run(list(self.layers)):  # type: ignore[arg-type]
            return gpu_training.context_blocks(z, list(self.layers))  # type: ignore[arg-type]
        x = z.transpose(1, 2)  # [B, C, T]
        for layer in self.layers:
            x = layer(x)
        return x.transpose(1, 2)  # [B, T, C]


class GruContext(nn.Module):
    """A GRU over time; stock's recurs over the batch by mistake, so this one has no parity with it."""

    def __init__(self, dim_in: int, dim: int) -> None:
        super().__init__()
        self.gru = nn.GRU(dim_in, dim, batch_first=True)
        self.dim = dim

    def forward(self, z: Tensor) -> Tensor:  # [B, T, C_in] → [B, T, C]
        c: Tensor = self.gru(z)[0]
        return c

    def of_many(self, clips: Sequence[Tensor]) -> list[Tensor]:  # [T, C_in] → [T, C] each
        """Of clips of any lengths at once, none of which sees another or any padding."""
        found = self.gru(pack_sequence(list(clips), enforce_sorted=False))[0]
        return unpack_sequence(found)
