"""wav ──encoder──▶ z: the convolutional encoder of wav2vec (arXiv 1904.05862 §2.1; vq-wav2vec §3.1).

Shapes: B batch, S samples, T frames, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from ..kernels import cpu_training, gpu_training
from ..layers.conv_spec import ConvGeometry, ConvLayer
from ..layers.norm import GroupNorm32, make_activation


class EncoderBlock(nn.Module):
    """A convolution, group norm over channels and time, activation."""

    def __init__(self, dim_in: int, layer: ConvLayer, affine: bool, activation: str) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim_in, layer.dim, layer.kernel, stride=layer.stride, bias=False)
        self.norm: nn.GroupNorm = GroupNorm32(1, layer.dim, affine=affine)
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

    @property
    def blocks(self) -> list[EncoderBlock]:
        return list(self.layers)  # type: ignore[arg-type]

    def forward(self, wav: Tensor) -> Tensor:  # [B, S] → [B, T, C]
        if gpu_training.takes_over(self, wav) and not self.skip_connections:
            self._check_length(wav)
            # codes see a logarithm's last bit: evaluation has torch's own
            log = self.training and self.log_compression and self.never_negative
            z = gpu_training.encoder_blocks(wav, self.blocks, log)
            return z if log else self.compress(z)
        return self.compress(self.convolve(wav))

    def _check_length(self, wav: Tensor) -> None:
        if self.geometry.frames(wav.size(-1)) < 1:
            raise ValueError(
                f"audio of {wav.size(-1)} samples is shorter than the encoder's receptive field of "
                f"{self.geometry.receptive_field} samples; leave such clips out (`min_sample_size`)"
            )

    def convolve(self, wav: Tensor) -> Tensor:  # [B, S] → [B, T, C]
        """All of it but the logarithm."""
        self._check_length(wav)
        if cpu_training.takes_over(self, wav):
            skip = partial(self.skip, time=1) if self.skip_connections else None
            return cpu_training.encoder_blocks(wav, self.blocks, skip, self.residual_scale)
        x = wav.unsqueeze(1)  # [B, 1, S]
        for block in self.blocks:
            y = block(x)
            added = self.skip(x, y)
            x = y if added is None else (y + added) * self.residual_scale
        return x.transpose(1, 2)

    def skip(self, x: Tensor, y: Tensor, time: int = 2) -> Tensor | None:
        """What is added to a block's output y: as many frames of its input x, evenly spaced as stock's are.

        Both are [B, C, T], or with `time=1` [B, T, C]; where channels differ, there is no residual.
        """
        frames = y.size(time)
        if not self.skip_connections or x.size(3 - time) != y.size(3 - time):
            return None
        step = x.size(time) // frames
        return (x[:, :, ::step] if time == 2 else x[:, ::step]).narrow(time, 0, frames)

    def compress(self, x: Tensor) -> Tensor:
        """log(1 + |x|) spelled as stock spells it: log1p differs in the last bit, and codes see it."""
        if not self.log_compression:
            return x
        return (x if self.never_negative else x.abs()).add(1).log()
