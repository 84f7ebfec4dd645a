"""states ──acoustic model──▶ letters: wav2letter's convolutions over frames (arXiv 1609.03193, 1712.09444).

Shapes: B batch, T frames in, T' frames out, C channels in, O channels out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ..kernels.dropout import dropout
from ..layers.conv_spec import read_rows
from ..layers.padding import padding

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "gelu": nn.GELU,
    "glu": lambda: nn.GLU(1),
}
NORMS = ("none", "layer", "weight")


class Stack(NamedTuple):
    """What the named architectures differ in."""

    conv_layers: str
    activation: str
    norm: str
    dropout: float


def wsj_layers() -> str:
    """fairseq's `w2l_conv_glu_enc`: each layer a tenth wider and a tap longer than the one before; all of the
    padding is the first one's. What is a linear layer there is the last one here."""
    rows, channels, drop = [], 400, 0.2
    for i in range(17):
        rows.append((channels, 13 + i, 1, 0 if i else 170, round(drop, 6)))
        channels, drop = int(channels * 1.1) // 2 * 2, drop * 1.07
    channels, *_, drop = rows[-1]
    return str([*rows, (channels, 1, 1, 0, drop)])


ARCHS = {
    "vq_wav2letter": Stack("[(1000, 5)] * 7", "prelu", "none", 0.7),
    "vq_wav2letter_timit": Stack("[(1000, 5)] * 7", "prelu", "none", 0.7),
    "vq_wav2letter_wsj": Stack(wsj_layers(), "glu", "weight", 0.2),
    "vq_wav2letter_tiny": Stack("[(192, 7, 2)] + [(192, 7)] * 4", "gelu", "layer", 0.1),
}
_EXPECTED = (
    "a list of (channels, kernel[, stride[, padding[, dropout]]]), such as [(256, 5, 2)] + [(256, 5)] * 3"
)


@dataclass(frozen=True)
class StackLayer:
    """One convolution; GLU halves its channels."""

    dim: int
    kernel: int
    stride: int
    padding: int
    dropout: float

    def frames(self, frames: int) -> int:
        return max(0, (frames + 2 * self.padding - self.kernel) // self.stride + 1)


def parse_stack(spec: str, drop: float, field: str = "conv_layers") -> tuple[StackLayer, ...]:
    """Layers of a spec, a literal that is never evaluated; a padding not given keeps the frames."""
    rows = read_rows(spec, field, _EXPECTED, (int, float))
    layers = tuple(_layer(row, drop, field) for row in rows)
    lost, step = 0, 1
    for layer in layers:
        lost += (layer.kernel - 1 - 2 * layer.padding) * step
        step *= layer.stride
    if lost:
        raise ValueError(
            f"`{field}`: kernels and paddings {'cut' if lost > 0 else 'add'} {abs(lost)} frames at the ends; "
            f"expected paddings of {abs(lost) / 2:g} frames {'more' if lost > 0 else 'less'} on each side, "
            f"so that frames keep their times"
        )
    return layers


def _layer(row: object, drop: float, field: str) -> StackLayer:
    values = list(row) if isinstance(row, (tuple, list)) else []
    if not 2 <= len(values) <= 5 or not all(type(n) is int for n in values[:4]):
        raise ValueError(f"`{field}` holds {row!r}; expected {_EXPECTED}")
    defaults: list[Any] = [1, None, drop]
    dim, kernel, stride, pad, p = [*values, *defaults[len(values) - 2 :]]
    if min(dim, kernel, stride) < 1:
        raise ValueError(f"`{field}` holds {row!r}; expected channels, kernel and stride above 0")
    if pad is None and kernel % 2 == 0:
        raise ValueError(
            f"`{field}` holds {row!r}: its kernel is even, so no padding keeps the frames; give one, as in "
            f"({dim}, {kernel}, {stride}, {kernel // 2})"
        )
    if type(p) not in (int, float) or not 0 <= p < 1:
        raise ValueError(f"`{field}` holds {row!r}: its dropout is {p!r}; expected a probability in [0, 1)")
    return StackLayer(dim, kernel, stride, (kernel - 1) // 2 if pad is None else pad, float(p))


class Block(nn.Module):
    """A convolution that sees no padding behind an utterance's end; norm, activation, dropout."""

    def __init__(self, dim_in: int, layer: StackLayer, activation: str, norm: str) -> None:
        super().__init__()
        self.layer = layer
        conv = nn.Conv1d(dim_in, layer.dim, layer.kernel, layer.stride, layer.padding)
        self.conv = _weight_normed(conv) if norm == "weight" else conv
        self.norm = nn.LayerNorm(layer.dim) if norm == "layer" else None
        self.activation = ACTIVATIONS[activation]()
        self.dim = layer.dim // 2 if activation == "glu" else layer.dim

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # [B, C, T] → [B, O, T']
        if self.layer.padding:  # else no valid frame sees what is behind the end
            x = x.masked_fill(padding(lengths, x.size(2)).unsqueeze(1), 0.0)
        y = self.conv(x)
        if self.norm is not None:
            y = self.norm(y.transpose(1, 2)).transpose(1, 2)
        return dropout(self.activation(y), self.layer.dropout, self.training)


class ConvStack(nn.Module):
    """The blocks and a projection to the columns of the emissions."""

    def __init__(self, dim_in: int, dim_out: int, layers: Sequence[StackLayer], activation: str, norm: str):
        super().__init__()
        for name, value, choices in (("activation", activation, ACTIVATIONS), ("norm", norm, NORMS)):
            if value not in choices:
                raise ValueError(f"`{name}` is {value!r}; expected one of {', '.join(choices)}")
        if odd := [layer.dim for layer in layers if activation == "glu" and layer.dim % 2]:
            raise ValueError(f"`conv_layers` have {odd[0]} channels; expected an even number: GLU halves it")
        self.blocks = nn.ModuleList()
        self.stride = math.prod(layer.stride for layer in layers)
        for layer in layers:
            self.blocks.append(Block(dim_in, layer, activation, norm))
            dim_in = self.blocks[-1].dim  # type: ignore[assignment]
        projection = nn.Linear(dim_in, dim_out)
        self.projection = _weight_normed(projection) if norm == "weight" else projection

    @property
    def receptive_field(self) -> int:
        """Frames of features that a frame of emissions sees."""
        seen, step = 1, 1
        for block in self.blocks:
            layer: StackLayer = block.layer  # type: ignore[assignment]
            seen, step = seen + (layer.kernel - 1) * step, step * layer.stride
        return seen

    def frames(self, frames: int) -> int:
        """Frames of emissions that so many frames of features give."""
        for block in self.blocks:
            frames = block.layer.frames(frames)  # type: ignore[union-attr,operator]
        return frames

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:  # [B, T, C] → [B, T', V], [B]
        x = x.masked_fill(padding(lengths, x.size(1)).unsqueeze(2), 0.0).transpose(1, 2)  # [B, C, T]
        for block in self.blocks:
            x = block(x, lengths)
            layer: StackLayer = block.layer  # type: ignore[assignment]
            lengths = (lengths + (2 * layer.padding - layer.kernel)).div(layer.stride, rounding_mode="floor")
            lengths = (lengths + 1).clamp_min(0)
        return self.projection(x.transpose(1, 2)), lengths


def _weight_normed(layer: nn.Module) -> nn.Module:
    """As wav2letter begins: uniform weights, √3 times as wide as torch's."""
    layer.weight.data.mul_(math.sqrt(3))  # type: ignore[operator]
    normed: nn.Module = weight_norm(layer)
    return normed
