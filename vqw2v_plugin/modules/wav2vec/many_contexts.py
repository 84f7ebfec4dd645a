"""z or its codes' vectors ──context network──▶ c, for evaluation on a GPU: many clips, each as if alone.

The clips lie in one row of a fixed length, as the encoder's do (`many_clips`). Convolutions are padded on the
left alone, and before each clip there is room for that. Nothing waits for the device.
Shapes: T frames, N frames of a row, L frames of padding at most, C channels in, D channels of c, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..kernels.clip_layers import ClipConv
from ..kernels.clip_rows import FRAMES, Places, finish
from ..quantizers.base import SplitEncode
from .context import ContextBlock, ConvContext
from .many_clips import chosen


@dataclass(frozen=True)
class _Row:
    """Where the clips of a row lie, and what each of its frames is read from."""

    places: Places
    source: Tensor  # [N], of all clips' frames one after the other
    padded: Tensor  # [L + N], of the row's frames: before a clip its first
    is_before: Tensor  # [L + N] bool

    @classmethod
    def of(
        cls, frames: Sequence[int], parts: Sequence[int], row: int, left: int, device: torch.device
    ) -> _Row:
        places = Places.of([frames], [FRAMES], parts, row, device)
        sizes, first = torch.tensor(frames, device="cpu"), FRAMES * torch.tensor(places.first, device="cpu")
        each = torch.arange(int(sizes.sum()), device="cpu")
        moved = (first - (sizes.cumsum(0) - sizes)).repeat_interleave(sizes)
        source = torch.zeros(row * FRAMES, dtype=torch.int64, device="cpu")
        source[each + moved] = each
        padded = (torch.arange(left + row * FRAMES, device="cpu") - left).clamp_min(0)
        before = (first[:, None] + torch.arange(left, device="cpu")).flatten()
        padded[before] = first.repeat_interleave(left)
        is_before = torch.zeros_like(padded)
        is_before[before] = 1
        table = torch.cat([source, padded, is_before])
        if device.type == "cuda":
            table = table.pin_memory()
        table, lengths = table.to(device, non_blocking=True), [len(source), len(padded), len(padded)]
        told = torch.split(table, lengths)
        return cls(places, told[0], told[1], told[2].bool())


class RowContext:
    """A context network's weights as rows want them."""

    def __init__(self, context: ConvContext, dtype: torch.dtype, parts: int) -> None:
        """`parts` of a row, of FRAMES frames each."""
        self.blocks: list[ContextBlock] = list(context.layers)  # type: ignore[arg-type]
        self.dtype, self.parts = dtype, parts
        self.convs = [ClipConv(block.conv, block.norm, block.activation, dtype) for block in self.blocks]
        self.left = max(block.left for block in self.blocks)

    @torch.no_grad()
    def c(self, clips: Sequence[Tensor]) -> list[Tensor]:  # [T, C] → [T, D] each
        row = self._row(clips)
        return row.places.split(self._states(clips, row))

    @torch.no_grad()
    def codes(self, clips: Sequence[Tensor], split: SplitEncode) -> list[Tensor]:  # [T, C] → [T, G] each
        """Of a quantizer behind the context network, by its steps, which work in fp32."""
        row = self._row(clips)
        return chosen(self._states(clips, row), row.places, split)

    def _row(self, clips: Sequence[Tensor]) -> _Row:
        frames = [len(clip) for clip in clips]
        parts = [-(-n // FRAMES) + parts_before(self.left) for n in frames]
        if sum(parts) > self.parts:
            raise ValueError(f"{sum(frames)} frames are more than a row has ({self.parts * FRAMES})")
        return _Row.of(frames, parts, self.parts, self.left, clips[0].device)

    def _states(self, clips: Sequence[Tensor], row: _Row) -> Tensor:  # [N, D]
        """c of the whole row, with what stands between its clips."""
        x = torch.cat(list(clips)).index_select(0, row.source)
        for block, conv in zip(self.blocks, self.convs, strict=True):
            heard = x.index_select(0, row.padded) if block.left else x
            if block.left and block.pad_mode == "constant":
                heard = heard.masked_fill_(row.is_before[:, None], 0.0)
            y = conv.convolve(heard[self.left - block.left :] if block.left else heard)
            if block.conv.bias is not None:
                y = y.add_(block.conv.bias)
            scale, shift = row.places.norm(y, block.norm, 0)
            out = finish(y, scale, shift, block.activation, torch.float32, 0)
            x = (out + self._beside(block, x)) * block.residual_scale if block.skip else out
        return x

    def _beside(self, block: ContextBlock, x: Tensor) -> Tensor:
        """What is added to a block's output."""
        if block.residual is None:
            return x
        weight = block.residual.weight.squeeze(2).T.to(self.dtype)  # [C, O]
        return (x.to(self.dtype) @ weight).float()


def parts_before(left: int) -> int:
    """Of a row, that so many frames of padding take up with each clip."""
    return -(-left // FRAMES)
