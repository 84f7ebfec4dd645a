"""wav ──encoder──▶ z ──quantizer──▶ tokens, for evaluation on a GPU: many clips at once, each as if alone.

All lie in one row of a fixed length, so that every batch is the same few large calls; a clip's frames are
computed alike whatever lies beside it. Nothing waits for the device.
Shapes: S samples, T frames, N frames of a row, C channels, O channels out, k taps, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.clip_layers import ClipConv
from ..kernels.clip_rows import FRAMES, Places, finish
from ..kernels.rounding import exact
from ..layers.conv_spec import ConvGeometry, ConvLayer
from ..quantizers.base import SplitEncode
from .encoder import Encoder
from .long_clips import MEMORY

_SAMPLES = 1 << 21  # of a row, at most: 131 s
_FEWEST_PARTS = 8  # where memory has room for less, clips go alone


class RowEncoder:
    """An encoder's weights as rows want them."""

    def __init__(self, encoder: Encoder, dtype: torch.dtype, memory: int = MEMORY) -> None:
        """`memory`: bytes of a layer's outputs, of all clips together."""
        if encoder.skip_connections:
            raise ValueError("`skip_connections_feat` is on: such residuals are spaced by the whole clip")
        self.encoder, self.dtype, self.memory = encoder, dtype, memory
        first, *others = encoder.blocks
        self.taps, self.hop = first.conv.kernel_size[0], first.conv.stride[0]
        self.fill = -self.taps % 16  # odd sizes of matrices are slow
        weight = F.pad(first.conv.weight.detach().squeeze(1), (0, self.fill))  # [O, k + fill]
        self.first = weight.T.contiguous().to(dtype)
        self.layers = [ClipConv(block.conv, block.norm, block.activation, dtype) for block in others]
        specs = [
            ConvLayer(b.conv.out_channels, b.conv.kernel_size[0], b.conv.stride[0]) for b in encoder.blocks
        ]
        self.geometries = [ConvGeometry.of(specs[: i + 1]) for i in range(len(specs))]
        self.part = FRAMES * encoder.geometry.stride  # samples
        self.sizes = [self.part // geometry.stride for geometry in self.geometries]  # of a part, by layer
        largest = max(n * spec.dim for n, spec in zip(self.sizes, specs, strict=True))
        self.parts = min(_SAMPLES // self.part, memory // (largest * self.first.element_size()))

    @property
    def device(self) -> torch.device:
        return self.first.device

    @property
    def room(self) -> int:
        """Samples of a row; 0: there is no memory for one."""
        return self.parts * self.part if self.parts >= _FEWEST_PARTS else 0

    def takes(self, samples: int) -> int:
        """Samples of the row that a clip of so many takes up."""
        return -(-samples // self.part) * self.part

    @torch.no_grad()
    def z(self, clips: Sequence[Tensor]) -> list[Tensor]:  # [S] → [T, C] each
        places = self._places(clips)
        return places.split(self._states(clips, places))

    @torch.no_grad()
    def codes(self, clips: Sequence[Tensor], split: SplitEncode) -> list[Tensor]:  # [S] → [T, G] each
        """By the quantizer's steps, which work in fp32."""
        places = self._places(clips)
        return chosen(self._states(clips, places), places, split)

    def _places(self, clips: Sequence[Tensor]) -> Places:
        samples = [len(clip) for clip in clips]
        frames = [[geometry.frames(n) for n in samples] for geometry in self.geometries]
        parts = [self.takes(n) // self.part for n in samples]
        if sum(parts) > self.parts:
            raise ValueError(f"{sum(samples)} samples are more than a row has ({self.room})")
        return Places.of(frames, self.sizes, parts, self.parts, self.device)

    def _states(self, clips: Sequence[Tensor], places: Places) -> Tensor:  # [N, C]
        """z of the whole row, with what stands between its clips."""
        patches = self._row(clips, places).unfold(0, self.taps, self.hop)
        x = F.pad(patches, (0, self.fill)).to(self.dtype)
        for i, block in enumerate(self.encoder.blocks):
            y = self.layers[i - 1].convolve(x) if i else x @ self.first
            after = self.layers[i] if i < len(self.layers) else None
            dtype, tail = (self.dtype, _tail(after.taps, after.stride)) if after else (torch.float32, 0)
            scale, shift = places.norm(y, block.norm, i)
            x = finish(y, scale, shift, block.activation, dtype, tail)
        return self.encoder.compress(x)

    def _row(self, clips: Sequence[Tensor], places: Places) -> Tensor:
        """The samples, on the weights' device."""
        row = torch.zeros(self.parts * self.part + _tail(self.taps, self.hop), device=clips[0].device)
        for clip, part in zip(clips, places.first, strict=True):
            row[part * self.part :][: len(clip)] = clip
        if self.device.type == "cuda" and row.device.type == "cpu":
            row = row.pin_memory()
        return row.to(self.device, non_blocking=True)


def chosen(x: Tensor, places: Places, split: SplitEncode) -> list[Tensor]:  # [N, C] → [T, G] of each clip
    """The codes of a row's last layer."""
    with exact(x.device):
        if split.project is not None:
            x = split.project(x)
        if split.norm is not None:
            scale, shift = places.norm(x, split.norm, -1)
            x = finish(x, scale, shift, nn.Identity(), torch.float32, 0)
        return places.split(split.choose(x))


def _tail(taps: int, stride: int) -> int:
    """Frames behind a row's last, so that a layer has as many as its row has parts for."""
    return max(0, taps - stride)
