"""wav → z → c in training on a GPU: group norm with what stands around it, an utterance cut into parts.

Shapes: B batch, T frames, C channels in, O out, P parts of an utterance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import launching

PARTS = 64  # of an utterance: with ten of them several to each of a chip's processors
TILE = 4096  # numbers of a block


@dataclass(frozen=True)
class Layer:
    """A block as its settings; its four weights go beside it."""

    taps: int
    stride: int
    relu: bool
    eps: float
    lead: int = 0  # frames of padding before the first
    replicate: bool = False  # with the first frame, not zeros
    skip: bool = False
    scale: float = 1.0
    log: bool = False  # log(1 + what is never negative) at the end
    first: bool = False  # of audio, which comes in patches


@dataclass(frozen=True)
class _Cut:
    """How an utterance's frames are cut into parts, and these into blocks."""

    batch: int
    frames: int
    dim: int
    into: int

    @classmethod
    def of(cls, y: Tensor, parts: int | None = None) -> _Cut:
        batch, frames, dim = y.shape
        return cls(batch, frames, dim, parts or PARTS)

    @property
    def rows(self) -> int:
        return -(-self.frames // self.into)

    @property
    def grid(self) -> tuple[int, int]:
        return self.into, self.batch

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.frames, self.dim, self.into, self.rows

    @property
    def block(self) -> dict[str, int]:
        size = launching.power_of_two(self.dim)
        return {"F": max(1, min(launching.power_of_two(self.rows), TILE // size)), "C2": size}

    @property
    def parts(self) -> dict[str, int]:
        return {**self.block, "P2": launching.power_of_two(self.into)}


def moments(
    y: Tensor, bias: Tensor | None = None, lengths: Tensor | None = None, parts: int | None = None
) -> Tensor:
    """Of each part of [B, T, C]: its mean and the sum of squared distances from that, [B, P, 2]."""
    cut = _Cut.of(y, parts)
    found = y.new_empty(cut.batch, cut.into, 2, dtype=torch.float32)
    given = {"BIAS": bias is not None, "SOME": lengths is not None}
    launching.launch("norm.moments", cut.grid, y, bias, lengths, found, *cut.sizes, **given, **cut.block)
    return found


def normed(
    x: Tensor, y: Tensor, weights: Sequence[Tensor | None], layer: Layer, lead: int, replicate: bool
) -> tuple[Tensor, Tensor]:
    """The layer's output behind `lead` frames of padding; mean and 1 / deviation [B, 2]."""
    _, bias, weight, shift = weights
    cut, parts = _Cut.of(y), moments(y, bias)
    out = y.new_empty(cut.batch, lead + cut.frames, cut.dim)
    stats = torch.empty_like(parts[:, 0])
    skip = x[:, layer.lead :] if layer.skip else None
    constants: dict[str, int] = {"BIAS": bias is not None, "AFFINE": weight is not None}
    constants |= {"SKIP": layer.skip, "SOME": False}
    constants |= {"RELU": layer.relu, "LOG": layer.log, "LEAD": lead, "REPLICATE": replicate and lead > 0}
    launching.launch(
        "norm.apply", cut.grid, y, bias, None, parts, weight, shift, skip, out, stats, *cut.sizes, layer.eps,
        layer.scale, x.stride(0), out.stride(0), **constants, **cut.parts,
    )  # fmt: skip
    return out, stats


def norm_backward(
    ahead: Tensor, beside: Tensor | None, y: Tensor, stats: Tensor, weights: Sequence[Tensor | None],
    layer: Layer, after: Layer | None, columns: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The gradients of y and of the layer's output."""
    _, bias, weight, shift = weights
    cut, lead = _Cut.of(y), after.lead if after else 0
    stores = lead > 0 or beside is not None
    out = torch.empty_like(y) if stores else ahead
    sums = y.new_empty(cut.batch, PARTS, 2, dtype=torch.float32)
    constants = {"BIAS": bias is not None, "AFFINE": weight is not None, "SKIP": layer.skip}
    constants |= {"RELU": layer.relu, "LOG": layer.log}
    came: dict[str, int] = {"BESIDE": beside is not None, "LEAD": lead, "STORE": stores}
    came["REPLICATE"] = bool(lead and after and after.replicate)
    launching.launch(
        "norm.reduce_backward", cut.grid, ahead, beside, out, y, bias, stats, weight, shift, sums, columns,
        *cut.sizes, layer.scale, after.scale if after else 1.0, ahead.stride(0), columns.stride(0),
        **constants, **came, **cut.block,
    )  # fmt: skip
    to_y = torch.empty_like(y)
    launching.launch(
        "norm.apply_backward", cut.grid, out, y, bias, stats, weight, shift, sums, columns[2], to_y,
        *cut.sizes, layer.scale, **constants, **cut.parts,
    )  # fmt: skip
    return to_y, out


def gathered(ahead: Tensor, beside: Tensor | None, layer: Layer) -> Tensor:
    """The gradient of what the first layer was given."""
    if not layer.lead and beside is None:
        return ahead
    batch, frames, dim = ahead.shape
    into = ahead.new_empty(batch, frames - layer.lead, dim)
    cut = _Cut.of(into)
    came = {"BESIDE": beside is not None, "LEAD": layer.lead, "REPLICATE": layer.replicate and layer.lead > 0}
    launching.launch(
        "norm.gather", cut.grid, ahead, beside, into, cut.frames, cut.dim, cut.rows, layer.scale,
        ahead.stride(0), **came, **cut.block,
    )  # fmt: skip
    return into
