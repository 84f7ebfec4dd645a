"""wav → z: which convolutions the encoder has, and how many frames a number of samples gives."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ConvLayer:
    """One convolution: output channels, kernel and stride in its own input's steps."""

    dim: int
    kernel: int
    stride: int


def parse_conv_layers(spec: str, field: str = "conv layers") -> tuple[ConvLayer, ...]:
    """`[(512, 10, 5)] + [(512, 4, 2)] * 3` → layers; read as a literal, never evaluated as code."""
    try:
        rows = literal(ast.parse(spec, mode="eval").body)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"`{field}` ({spec!r}) cannot be read: {error}; expected {_EXPECTED}") from None
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"`{field}` ({spec!r}) holds no layers; expected {_EXPECTED}")
    return tuple(_layer(row, field) for row in rows)


_EXPECTED = "a list of (channels, kernel, stride), such as [(512, 10, 5), (512, 8, 4)]"


def _layer(row: object, field: str) -> ConvLayer:
    whole = isinstance(row, (tuple, list)) and len(row) == 3
    if not whole or not all(type(n) is int and n > 0 for n in row):  # type: ignore[attr-defined]
        raise ValueError(
            f"`{field}` holds {row!r}; expected three positive integers (channels, kernel, stride)"
        )
    return ConvLayer(*row)  # type: ignore[misc]


def literal(node: ast.expr, numbers: tuple[type, ...] = (int,)) -> object:
    """Lists, tuples and numbers, with stock's `+` and `*` between lists."""
    if isinstance(node, ast.List):
        return [literal(item, numbers) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(literal(item, numbers) for item in node.elts)
    if isinstance(node, ast.Constant) and type(node.value) in numbers:
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult)):
        left, right = literal(node.left, numbers), literal(node.right, numbers)
        if isinstance(node.op, ast.Add) and isinstance(left, list) and isinstance(right, list):
            return left + right
        if isinstance(node.op, ast.Mult) and isinstance(left, list) and type(right) is int and right <= 1000:
            return left * right
    what = "an integer" if numbers == (int,) else "a number"
    raise ValueError(f"`{ast.unparse(node)}` is neither a list, a tuple nor {what}")


@dataclass(frozen=True)
class ConvGeometry:
    """Receptive field and frame rate of a stack of unpadded convolutions."""

    receptive_field: int  # samples that one frame sees
    stride: int  # samples between two frames

    @classmethod
    def of(cls, layers: Sequence[ConvLayer]) -> ConvGeometry:
        field, stride = 1, 1
        for layer in layers:
            field += (layer.kernel - 1) * stride
            stride *= layer.stride
        return cls(field, stride)

    def frames(self, samples: int) -> int:
        """Frames that `samples` samples give; 0 when they are shorter than the receptive field."""
        return max(0, (samples - self.receptive_field) // self.stride + 1)

    def samples(self, frames: int) -> int:
        """The fewest samples that give `frames` frames."""
        return 0 if frames <= 0 else self.receptive_field + (frames - 1) * self.stride

    @property
    def frames_per_receptive_field(self) -> int:
        """Frames until two receptive fields no longer overlap: stock's `offset='auto'`."""
        return math.ceil(self.receptive_field / self.stride)
