"""tokens ──BERT──▶ states: dropout that costs a processor little.

A CPU draws `bernoulli_` one element at a time, 6 ns each: on attention weights that is more than their matrix
products take. Here four elements share one draw of 64 bits, 16 bits each, so p is met to within 2^-17.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from . import devices

_LEVELS = 1 << 16
_FULL_RANGE = -(1 << 63)  # `random_` alone would leave the sign bit 0


def keep_mask(
    shape: Sequence[int], p: float, dtype: torch.dtype, generator: torch.Generator | None
) -> Tensor:
    """1 where an element stays and 0 where it is dropped, with probability p; on the CPU."""
    count = math.prod(shape)
    draws = torch.empty((count + 3) // 4, dtype=torch.int64)
    draws.random_(_FULL_RANGE, None, generator=generator)
    bits = draws.view(torch.int16)[:count].view(*shape)
    # written as numbers straight away: multiplying by a bool tensor takes several times as long
    return torch.ge(bits, round(p * _LEVELS) - _LEVELS // 2, out=torch.empty(shape, dtype=dtype))


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """`F.dropout`, quick on the CPU too."""
    if not training or p == 0:
        return x
    if devices.is_gpu(x) and p < 1:
        return torch.native_dropout(x, p, True)[0]  # one call each way
    if x.device.type != "cpu":
        return F.dropout(x, p)
    return x * keep_mask(x.shape, p, x.dtype, None).mul_(1 / (1 - p))
