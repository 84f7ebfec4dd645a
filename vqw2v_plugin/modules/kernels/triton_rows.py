"""wav → z for evaluation on a GPU: norm and activation of a row of clips, in one pass over it.

Shapes: N frames, R of a part, P parts, C channels, F frames of a block.
"""

import triton
import triton.language as tl

from .triton_norm import _act


@triton.jit
def norm(
    moments, valid, clip, weight, shift, scales, shifts, P, C, eps, AFFINE: tl.constexpr, C2: tl.constexpr,
    P2: tl.constexpr,
):  # fmt: skip
    """A part's clip's norm as scale and shift [P, C], of all its parts' moments [P, 2]; sums are fp64."""
    p = tl.program_id(0)
    i, c = tl.arange(0, P2), tl.arange(0, C2)
    mine = (tl.load(clip + i, i < P, -1) == tl.load(clip + p)) & (i < P)
    n = tl.load(valid + i, mine, 0).to(tl.float64) * C
    mean = tl.load(moments + 2 * i, mine, 0.0).to(tl.float64)
    spread = tl.load(moments + 2 * i + 1, mine, 0.0).to(tl.float64)
    total = tl.sum(n, 0)
    centre = tl.sum(mean * n, 0) / total
    away = tl.where(mine, mean - centre, 0.0)
    gain = 1.0 / tl.sqrt((tl.sum(spread, 0) + tl.sum(away * away * n, 0)) / total + eps)
    w, b = tl.full([C2], 1.0, tl.float64), tl.full([C2], 0.0, tl.float64)
    if AFFINE:
        w, b = tl.load(weight + c, c < C, 1.0).to(tl.float64), tl.load(shift + c, c < C, 0.0).to(tl.float64)
    tl.store(scales + p * C + c, (gain * w).to(tl.float32), c < C)
    tl.store(shifts + p * C + c, (b - centre * gain * w).to(tl.float32), c < C)


@triton.jit
def finish(y, scale, shift, out, C, R, RELU: tl.constexpr, F: tl.constexpr, C2: tl.constexpr):
    """act(y · scale + shift), these of the frame's part [P, C]: [N, C] → [N, C]."""
    block = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, C2)
    inside = c < C
    part = block * F // R
    gain = tl.load(scale + part * C + c, inside, 0.0)
    added = tl.load(shift + part * C + c, inside, 0.0)
    at = (block * F + tl.arange(0, F))[:, None] * C + c[None, :]
    x = tl.load(y + at, inside[None, :], 0.0).to(tl.float32)
    x = _act(x * gain[None, :] + added[None, :], RELU)
    tl.store(out + at, x.to(out.dtype.element_ty), inside[None, :])
