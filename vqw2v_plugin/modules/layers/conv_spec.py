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


_LONGEST = 100_000  # characters of a spec
_MOST = 1000  # layers, or anything else in one list
_SHOWN = 1000  # characters of a spec in an error
_EXPECTED = "a list of (channels, kernel, stride), such as [(512, 10, 5), (512, 8, 4)]"


def parse_conv_layers(spec: str, field: str = "conv layers") -> tuple[ConvLayer, ...]:
    """`[(512, 10, 5)] + [(512, 4, 2)] * 3` → layers; read as a literal, never evaluated as code."""
    return tuple(_layer(row, field) for row in read_rows(spec, field, _EXPECTED))


def read_rows(spec: str, field: str, expected: str, numbers: tuple[type, ...] = (int,)) -> list[object]:
    """The list that a spec spells, with one entry a layer."""
    try:
        if len(spec) > _LONGEST:
            raise ValueError(f"it has {len(spec):,} characters, at most {_LONGEST:,} are read")
        rows = literal(ast.parse(spec.strip(), mode="eval").body, numbers)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or "it is too deep"
        raise ValueError(
            f"`{field}` ({_shown(repr(spec))}) cannot be read: {reason}; expected {expected}"
        ) from None
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"`{field}` ({_shown(repr(spec))}) holds no layers; expected {expected}")
    return rows


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _layer(row: object, field: str) -> ConvLayer:
    whole = isinstance(row, (tuple, list)) and len(row) == 3
    if not whole or not all(type(n) is int and n > 0 for n in row):  # type: ignore[attr-defined]
        raise ValueError(
            f"`{field}` holds {_shown(repr(row))}; expected three positive integers "
            "(channels, kernel, stride)"
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
            _check_size(len(left) + len(right))
            return left + right
        if isinstance(node.op, ast.Mult) and isinstance(left, list) and type(right) is int:
            _check_size(len(left) * right)
            return left * right
    what = "an integer" if numbers == (int,) else "a number"
    raise ValueError(f"`{_shown(ast.unparse(node))}` is neither a list, a tuple nor {what}")


def _check_size(size: int) -> None:
    """Looked at before the list is made: `[…] * 1000 * 1000 * 1000` would take all memory."""
    if size > _MOST:
        raise ValueError(f"it makes a list of more than {_MOST:,} entries")


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
