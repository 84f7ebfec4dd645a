"""wav → z → c: constants that make a short convolution cheaper, exactly (Toom and Cook; Winograd, 1980).

m outputs of a filter with k taps need m·k products one by one, but only about 1.5·(m + k) when signal and
filter are first evaluated, as polynomials, at m + k − 1 points: here 0, ∞ and the R-th roots of unity, where
rounding errors stay small. A "product" here is one of matrices, over channels, so transforms cost little.
"""

from __future__ import annotations

import cmath
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from torch import Tensor

_ROOTS = (2, 4, 8, 16, 32)  # R; more points mean fewer products an output, and more transformed weights
_WEIGHT_ROWS = 100  # transforming a weight matrix takes about as long as multiplying so many rows with it


@dataclass(frozen=True)
class ToomCook:
    """y = outputs · ((taps · w) ⊙ (inputs · x)): m values of y[t] = Σₖ w[k] x[t + k]."""

    inputs: Tensor  # [P, N]: the N = m + k − 1 values of x that a tile sees → P products
    taps: Tensor  # [P, k]
    outputs: Tensor  # [m, P]

    POINT_ONE: ClassVar[int] = 2  # the product at point 1 enters every output with factor 1

    @property
    def hop(self) -> int:  # m
        return self.outputs.size(0)

    @property
    def seen(self) -> int:  # N
        return self.inputs.size(1)

    def rows(self, frames: int) -> int:
        """Frames of x that whole tiles see when they give at least `frames` outputs."""
        return (-(-frames // self.hop) - 1) * self.hop + self.seen


def best_roots(taps: int, rows: int) -> int:
    """The R that costs least for so many frames; 0 where products one by one are as cheap."""
    best, least = 0, taps * float(rows)
    for roots in _ROOTS:
        hop = roots + 3 - taps
        if hop < 1:
            continue
        cost = num_products(roots) * (_WEIGHT_ROWS + rows / hop)
        if cost < 0.9 * least:
            best, least = roots, cost
    return best


def num_products(roots: int) -> int:
    return 4 + 3 * (roots // 2 - 1)  # 0, ∞, 1 and −1; three real products for each complex pair


def toom_cook(taps: int, roots: int, like: Tensor) -> ToomCook:
    """The transforms for `taps` taps from 0, ∞ and the `roots`-th roots of unity, as tensors like `like`."""
    inputs, at_taps, columns = (like.new_tensor(rows) for rows in _rows(taps, roots))
    return ToomCook(inputs, at_taps, columns.T.contiguous())


_Rows = list[list[float]]


@lru_cache(maxsize=64)
def _rows(taps: int, roots: int) -> tuple[_Rows, _Rows, _Rows]:
    """For each product its factors of x [N], of w [k], and what it adds to each output [m]."""
    size, hop = roots + 2, roots + 3 - taps  # N, m
    zero = [1.0] + [0.0] * (roots - 1) + [-1.0, 0.0]  # x₀ − x_R
    infinity = [0.0, -1.0] + [0.0] * (roots - 1) + [1.0]  # x_{R+1} − x₁
    inputs, at_taps = [zero, infinity], [_unit(0, taps), _unit(taps - 1, taps)]
    outputs = [_unit(0, hop), _unit(hop - 1, hop)]
    for i in range(roots // 2 + 1):
        point = cmath.exp(2j * cmath.pi * i / roots)
        a = [point**-n / roots if 0 < n < size - 1 else 0j for n in range(size)]
        b, c = [point**n for n in range(taps)], [point**n for n in range(hop)]
        if i in (0, roots // 2):  # the points 1 and −1
            inputs.append([v.real for v in a])
            at_taps.append([v.real for v in b])
            outputs.append([v.real for v in c])
            continue
        # the conjugate point's share is the conjugate; Gauss: a complex product of three real ones
        inputs += [[v.real + v.imag for v in a], [v.real for v in a], [v.imag for v in a]]
        at_taps += [[v.real for v in b], [v.imag - v.real for v in b], [v.real + v.imag for v in b]]
        outputs += [[2 * (v.real - v.imag) for v in c], [-2 * v.imag for v in c], [-2 * v.real for v in c]]
    return inputs, at_taps, outputs


def _unit(at: int, size: int) -> list[float]:
    return [float(i == at) for i in range(size)]
