"""wav ──encoder──▶ z: the convolutional encoder of wav2vec (arXiv 1904.05862 §2.1; vq-wav2vec §3.1).

Shapes: B batch, S samples, T frames, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from ..kernels.conv import strided_conv
from ..kernels.first_layers import first_layers
from ..kernels.norm_act import norm_act
from ..layers.conv_spec import ConvGeometry, ConvLayer
from ..layers.norm import GroupNorm32, make_activation


class EncoderBlock(nn.Module):
    def __init__(self, dim_in: int, layer: ConvLayer, affine: bool, activation: str) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim_in, layer.dim, layer.kernel, stride=layer.stride, bias=False)
        self.norm = GroupNorm32(1, layer.dim, affine=affine)
        self.activation = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:  # [B, C_in, T_in] → [B, C, T]
        return self.activation(self.norm(self.conv(x)))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Raw audio to `z`; 8 layers see 465 samples (29 ms) and step by 160 (10 ms) as the paper sets them."""

    def __init__(
        self,
        layers: Sequence[ConvLayer],
        activation: str = "relu",
        affine: bool = True,
        log_compression: bool = True,
        skip_connections: bool = False,
        residual_scale: float = 0.5,
    ) -> None:
        super().__init__()
        dims_in = [1, *(layer.dim for layer in layers)]
        self.layers = nn.ModuleList(
            EncoderBlock(dim_in, layer, affine, activation)
            for dim_in, layer in zip(dims_in, layers, strict=False)
        )
        self.geometry = ConvGeometry.of(layers)
        self.dim = layers[-1].dim
        self.log_compression = log_compression
        self.skip_connections = skip_connections
        self.residual_scale = math.sqrt(residual_scale)
        self.never_negative = activation == "relu" and not skip_connections

    def forward(self, wav: Tensor) -> Tensor:  # [B, S] → [B, T, C]
        return self.compress(self.convolve(wav))

    def convolve(self, wav: Tensor) -> Tensor:  # [B, S] → [B, T, C]
        """All of it but the logarithm."""
        if self.geometry.frames(wav.size(-1)) < 1:
            raise ValueError(
                f"audio of {wav.size(-1)} samples is shorter than the encoder's receptive field of "
                f"{self.geometry.receptive_field} samples; leave such clips out (`min_sample_size`)"
            )
        return self._train(wav) if self.training and wav.device.type == "cpu" else self._exact(wav)

    def compress(self, x: Tensor) -> Tensor:
        if not self.log_compression:
            return x
        # log(1 + |x|) spelled as stock spells it: log1p differs in the last bit, and codes see it
        return (x if self.never_negative else x.abs()).add(1).log()

    def _exact(self, wav: Tensor) -> Tensor:  # [B, S] → [B, T, C]
        """Stock's operations in stock's layout, so that codes are stock's to the bit."""
        x = wav.unsqueeze(1)  # [B, 1, S]
        for layer in self.layers:
            y = layer(x)
            if self.skip_connections and y.size(1) == x.size(1):
                y = (y + _every_nth(x, 2, y.size(2))) * self.residual_scale
            x = y
        return x.transpose(1, 2)

    def _train(self, wav: Tensor) -> Tensor:  # [B, S] → [B, T, C]
        """The same mathematics in fewer passes over memory and fewer products."""
        layers: list[EncoderBlock] = list(self.layers)  # type: ignore[arg-type]
        x = wav.unsqueeze(2)  # [B, S, 1]
        if len(layers) > 1 and not self.skip_connections:
            first, second = layers[0], layers[1]
            relu = isinstance(first.activation, nn.ReLU)
            y = first_layers(wav, first.conv, first.norm, relu, second.conv)
            x, layers = norm_act(y, second.norm, second.activation), layers[2:]
        for layer in layers:
            y = strided_conv(x, layer.conv.weight, layer.conv.stride[0])
            skips = self.skip_connections and y.size(2) == x.size(2)
            skip = _every_nth(x, 1, y.size(1)) if skips else None
            x = norm_act(y, layer.norm, layer.activation, skip, self.residual_scale)
        return x


def _every_nth(x: Tensor, time: int, frames: int) -> Tensor:
    """`frames` frames of a longer x, evenly spaced."""
    step = x.size(time) // frames
    return (x[:, :, ::step] if time == 2 else x[:, ::step]).narrow(time, 0, frames)
