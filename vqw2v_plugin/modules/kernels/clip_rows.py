"""wav → z for evaluation on a GPU: many clips in one row, whose group norms see each its own.

A row has a fixed number of parts, and a clip begins with one: each layer is one product over all of the row,
whatever clips are in it, and no frame of a clip sees another's. What stands between clips is no frame of any.
Shapes: P parts of a row, R frames of a part, N = P · R frames of a layer, B clips, O channels, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import launching, norm_parts

FRAMES = 16  # of a part of the last layer
_TILE = 4096  # numbers of a block


@dataclass(frozen=True)
class Places:
    """Where the clips of a row lie."""

    frames: Sequence[Sequence[int]]  # of each clip, by layer
    first: Sequence[int]  # the part that each clip begins with
    valid: Tensor  # [L, P], frames of each part that are a clip's, by layer
    clip: Tensor  # [P], whose part it is; those of none count as the last one's
    member: Tensor  # [B, P] bool: whether it is

    @classmethod
    def of(cls, frames: Sequence[Sequence[int]], sizes: Sequence[int], parts: Sequence[int], row: int,
           device: torch.device) -> Places:  # fmt: skip
        """`frames` of each clip by layer, `sizes` of a part by layer, `parts` of each clip, `row` of all."""
        counts = torch.tensor(parts, device="cpu")
        first = counts.cumsum(0) - counts
        clip = torch.full((row,), len(parts) - 1, device="cpu")
        clip[: int(counts.sum())] = torch.arange(len(parts), device="cpu").repeat_interleave(counts)
        before = torch.arange(row, device="cpu") - first[clip]  # parts of the same clip
        lengths, width = torch.tensor(frames, device="cpu"), torch.tensor(sizes, device="cpu")[:, None]
        valid = (lengths[:, clip] - before * width).clamp_min(0).minimum(width)  # [L, P]
        table = torch.cat([valid, clip[None]])
        if device.type == "cuda":
            table = table.pin_memory()
        table = table.to(device, non_blocking=True)
        member = torch.arange(len(parts), device=device)[:, None] == table[-1]
        return cls(frames, first.tolist(), table[:-1], table[-1], member)

    def split(self, x: Tensor) -> list[Tensor]:  # [N, ·] → [T, ·] of each clip
        """Of the last layer's frames."""
        return [
            x[part * FRAMES : part * FRAMES + n] for part, n in zip(self.first, self.frames[-1], strict=True)
        ]

    def norm(self, y: Tensor, norm: nn.GroupNorm, layer: int) -> tuple[Tensor, Tensor]:
        """Each part's clip's group norm of y [N, O] as one multiplication and one addition: [P, O] each."""
        valid = self.valid[layer]
        if norm.num_groups == 1 and launching.pays(y):
            return self._norm_by_kernels(y, valid, norm)
        mean, spread = _moments(y.view(len(valid), -1, y.size(1)), valid, norm.num_groups)  # [P, G] each
        each = norm.num_channels // norm.num_groups
        count = (valid * each).double()[:, None]  # [P, 1]
        total = self._sums(count)  # [B, 1]
        centre = self._sums(count * mean) / total  # [B, G]
        away = mean - centre[self.clip]
        variance = self._sums(spread + count * away.square()) / total
        gain = (variance + norm.eps).rsqrt().repeat_interleave(each, 1)  # [B, O]
        scale = gain if norm.weight is None else gain * norm.weight.detach().double()
        shift = -centre.repeat_interleave(each, 1) * scale
        if norm.bias is not None:
            shift = shift + norm.bias.detach().double()
        return scale.float()[self.clip], shift.float()[self.clip]

    def _norm_by_kernels(self, y: Tensor, valid: Tensor, norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
        parts, dim = len(valid), y.size(1)
        found = norm_parts.moments(y.view(parts, -1, dim), lengths=valid, parts=1)  # [P, 1, 2]
        scale, shift = y.new_empty(2, parts, dim, dtype=torch.float32).unbind()
        args = (found, valid, self.clip, norm.weight, norm.bias, scale, shift, parts, dim, norm.eps)
        sizes = {"C2": launching.power_of_two(dim), "P2": launching.power_of_two(parts)}
        launching.launch("rows.norm", (parts,), *args, AFFINE=norm.weight is not None, **sizes)
        return scale, shift

    def _sums(self, x: Tensor) -> Tensor:  # [P, G] → [B, G]
        """Over a clip's parts, and whatever another's are, infinities too."""
        return torch.where(self.member[..., None], x, 0.0).sum(1)


def _moments(y: Tensor, valid: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean and sum of squared distances from it of each part's valid frames: [P, R, O] → [P, G] in fp64."""
    wide = y.float().view(*y.shape[:2], groups, -1)  # [P, R, G, O / G]
    inside = (torch.arange(y.size(1), device=y.device) < valid[:, None])[..., None, None]
    count = (valid * wide.size(3)).clamp_min(1)[:, None]  # [P, 1]
    mean = torch.where(inside, wide, 0.0).sum((1, 3)) / count
    apart = torch.where(inside, wide - mean[:, None, :, None], 0.0)
    # the mean in fp32 is not quite the mean: what it is off is put right in fp64
    off, spread = apart.sum((1, 3)).double() / count, apart.square().sum((1, 3)).double()
    return mean.double() + off, spread - count * off.square()


def finish(
    y: Tensor, scale: Tensor, shift: Tensor, activation: nn.Module, dtype: torch.dtype, tail: int
) -> Tensor:
    """Norm and activation of [N, O] in fp32, as `dtype`, and `tail` more frames of zeros behind them."""
    relu = isinstance(activation, nn.ReLU)
    if launching.pays(y) and (relu or isinstance(activation, nn.GELU)):
        size = launching.power_of_two(y.size(1))
        rows = max(1, min(FRAMES, _TILE // size))  # a power of two: R is a multiple of it
        out = y.new_empty(len(y) + tail, y.size(1), dtype=dtype)
        out[len(y) :] = 0
        args = (y, scale, shift, out, y.size(1), len(y) // len(scale))
        launching.launch("rows.finish", (len(y) // rows,), *args, RELU=relu, F=rows, C2=size)
        return out
    x = y.float().view(len(scale), -1, y.size(1)) * scale[:, None]
    x = activation(x.add_(shift[:, None]))
    return F.pad(x.flatten(0, 1), (0, 0, 0, tail)).to(dtype)
