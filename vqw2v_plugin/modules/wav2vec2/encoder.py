"""wav ──encoder──▶ z: the convolutions of wav2vec 2.0, right with padding (arXiv 2006.11477 §2).

Shapes: B batch, S samples, T frames of the longest, N of all utterances, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels import gelu_convs
from ..kernels.cpu_training import takes_over
from ..layers.conv_spec import ConvGeometry, ConvLayer
from ..layers.norm import GroupNorm32
from ..layers.packed import pack


class EncoderBlock(nn.Module):
    """A convolution, a norm or none, GELU."""

    def __init__(self, dim_in: int, layer: ConvLayer, norm: str, bias: bool) -> None:
        """`norm`: group, of each channel over an utterance's time; layer, of each frame; or none."""
        super().__init__()
        self.conv = nn.Conv1d(dim_in, layer.dim, layer.kernel, stride=layer.stride, bias=bias)
        self.over_time: nn.GroupNorm | None = GroupNorm32(layer.dim, layer.dim) if norm == "group" else None
        self.over_channels = nn.LayerNorm(layer.dim) if norm == "layer" else None
        nn.init.kaiming_normal_(self.conv.weight)

    def forward(self, x: Tensor, frames: Sequence[int] | None) -> Tensor:  # [B, C_in, T_in] → [B, C, T]
        """`frames`: how many of the output's are of each utterance; None: all are."""
        x = self.conv(x)
        if self.over_time is not None:
            x = _of_each(self.over_time, x, frames)
        elif self.over_channels is not None:
            x = _in_full_precision(self.over_channels, x.transpose(1, 2)).transpose(1, 2)
        return F.gelu(x)


class ConvEncoder(nn.Module):
    """Raw audio to z; 7 layers see 400 samples (25 ms) and step by 320 (20 ms) as the paper sets them."""

    def __init__(self, layers: Sequence[ConvLayer], mode: str, bias: bool) -> None:
        super().__init__()
        dims_in = [1, *(layer.dim for layer in layers)]
        norms = ["layer" if mode == "layer_norm" else "none"] * len(layers)
        if mode == "default":
            norms[0] = "group"
        self.layers = nn.ModuleList(
            EncoderBlock(dim_in, layer, norm, bias)
            for dim_in, layer, norm in zip(dims_in, layers, norms, strict=False)
        )
        self.geometry = ConvGeometry.of(layers)
        self.first = ConvGeometry.of(layers[:1])
        self.dim = layers[-1].dim

    def forward(
        self, wav: Tensor, lengths: Sequence[int] | None = None
    ) -> tuple[Tensor, list[int]]:  # [B, S] → [N, C]
        """Utterances one after the other, and each one's frames; what is behind its end changes nothing."""
        sizes = [wav.size(-1)] * len(wav) if lengths is None else list(lengths)
        if self.geometry.frames(min(sizes)) < 1:
            raise ValueError(
                f"audio of {min(sizes)} samples is shorter than the encoder's receptive field of "
                f"{self.geometry.receptive_field} samples; leave such clips out (`min_sample_size`)"
            )
        if takes_over(self, wav) and gelu_convs.can_hear(self.blocks):
            return gelu_convs.encoder_blocks(wav, sizes, self.blocks)
        frames = [self.geometry.frames(size) for size in sizes]
        return pack(self._side_by_side(wav, sizes), frames), frames

    @property
    def blocks(self) -> list[EncoderBlock]:
        return list(self.layers)  # type: ignore[arg-type]

    def _side_by_side(self, wav: Tensor, sizes: Sequence[int]) -> Tensor:  # [B, S] → [B, T, C]
        """Frames behind an utterance's last are of no use; up to it they are as without padding."""
        # the first layer alone may look beyond a frame: at all of an utterance's, also those none later sees
        heard = [self.first.frames(n) for n in sizes] if min(sizes) < wav.size(-1) else None
        x = wav.unsqueeze(1)  # [B, 1, S]
        for block in self.blocks:
            x = block(x, heard)
        return x.transpose(1, 2)


def _of_each(norm: nn.GroupNorm, x: Tensor, frames: Sequence[int] | None) -> Tensor:  # [B, C, T]
    """Moments of an utterance's own frames."""
    if frames is None:
        return norm(x)  # type: ignore[no-any-return]
    size, wide = x.size(2), torch.promote_types(x.dtype, torch.float32)
    weight, bias = norm.weight.to(wide), norm.bias.to(wide)
    rows = []
    for row, n in zip(x.to(wide), frames, strict=True):  # widened at once: each row by itself costs calls
        normed = F.group_norm(row[None, :, :n], norm.num_groups, weight, bias, norm.eps)
        rows.append(F.pad(normed, (0, size - n)))
    return torch.cat(rows).type_as(x)


def _in_full_precision(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """As stock's convolutions have it, also where the model is halved."""
    if x.dtype in (torch.float32, torch.float64):
        return norm(x)  # type: ignore[no-any-return]
    return F.layer_norm(x.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float()).type_as(x)
