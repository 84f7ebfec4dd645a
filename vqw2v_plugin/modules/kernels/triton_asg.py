"""states ──acoustic model──▶ letters on a GPU: ASG's sums over paths, all frames in one kernel.

Two programs an utterance scan it from either end, and all is a logarithm in fp64. What is beyond the labels
is `NONE`, which is far below every score and yet finite.
Shapes: B batch, T frames, V labels, L labels of a target, P parts.
"""

import triton
import triton.language as tl

NONE = tl.constexpr(-1e30)


@triton.jit
def _log_add(x, y):
    top = tl.maximum(x, y)
    return top + tl.log(tl.exp(x - top) + tl.exp(y - top))


@triton.jit
def all_paths(e, transitions, lengths, sums, score, T, V, B, V2: tl.constexpr):
    """Log sums over the paths to each frame and label (0), or from there (1): [B, T, V] → [2, B, T, V]."""
    way, b = tl.program_id(0), tl.program_id(1).to(tl.int64)
    v = tl.arange(0, V2)
    n = tl.load(lengths + b).to(tl.int32)
    by_row, by_column = tl.where(way == 0, V, 1), tl.where(way == 0, 1, V)
    there = (v[:, None] < V) & (v[None, :] < V)
    steps = tl.load(transitions + v[:, None] * by_row + v[None, :] * by_column, there, NONE)  # [to, from]
    e += b * T * V
    sums += (way * B + b) * T * V
    t = tl.where(way == 0, 0, tl.maximum(n - 1, 0))
    a = tl.load(e + t * V + v, v < V, NONE)
    tl.store(sums + t * V + v, a, v < V)
    for i in range(1, n):
        t = tl.where(way == 0, i, n - 1 - i)
        x = a[None, :] + steps
        top = tl.max(x, 1)
        a = top + tl.log(tl.sum(tl.exp(x - top[:, None]), 1)) + tl.load(e + t * V + v, v < V, NONE)
        tl.store(sums + t * V + v, a, v < V)
    if way == 0:
        top = tl.max(a, 0)
        tl.store(score + b, top + tl.log(tl.sum(tl.exp(a - top), 0)))


@triton.jit
def expected(e, transitions, lengths, sums, score, labels, steps, T, V, B, P, R, V2: tl.constexpr):
    """How often each label [B, T, V] and, in each part of R frames, each step [B, P, V, V] is expected."""
    p, b = tl.program_id(0), tl.program_id(1).to(tl.int64)
    v = tl.arange(0, V2)
    total, n = tl.load(score + b), tl.load(lengths + b).to(tl.int32)
    there = (v[:, None] < V) & (v[None, :] < V)
    g = tl.load(transitions + v[:, None] * V + v[None, :], there, NONE) - total
    before, behind = sums + b * T * V, sums + (B + b) * T * V
    found = tl.zeros([V2, V2], tl.float64)
    for t in range(p * R, tl.minimum(p * R + R, n)):
        after = tl.load(behind + t * V + v, v < V, NONE)
        here = tl.load(before + t * V + v, v < V, NONE) - tl.load(e + (b * T + t) * V + v, v < V, 0.0)
        tl.store(labels + (b * T + t) * V + v, tl.exp(here + after - total), v < V)
        if t > 0:
            came = tl.load(before + (t - 1) * V + v, v < V, NONE)
            found += tl.exp(came[None, :] + g + after[:, None])
    tl.store(steps + ((b * P + p) * V + v[:, None]) * V + v[None, :], found, there)


@triton.jit
def target_paths(e, stay, step, lengths, last, sums, T, L, B, L2: tl.constexpr):
    """The same of a target's labels in turn, each held or left for the next: [B, T, L] → [2, B, T, L].

    `e` has what staying costs in it; `step` [2, B, L] is what coming from beside costs more, either way.
    """
    way, b = tl.program_id(0), tl.program_id(1).to(tl.int64)
    i = tl.arange(0, L2)
    n = tl.load(lengths + b).to(tl.int32)
    dearer = tl.load(step + (way * B + b) * L + i, i < L, NONE)
    first = tl.where(way == 0, 0, tl.load(last + b).to(tl.int32))
    beside = tl.where(way == 0, i - 1, i + 1)
    e += b * T * L
    sums += (way * B + b) * T * L
    t = tl.where(way == 0, 0, tl.maximum(n - 1, 0))
    here = tl.load(e + t * L + i, i < L, NONE) - tl.load(stay + b * L + i, i < L, 0.0)
    here = tl.where(i == first, here, NONE)
    tl.store(sums + t * L + i, here, i < L)
    for number in range(1, n):
        tl.debug_barrier()  # the neighbour's sum of the frame before is read from memory
        came = tl.load(sums + t * L + beside, (beside >= 0) & (beside < L), NONE)
        t = tl.where(way == 0, number, n - 1 - number)
        here = tl.maximum(_log_add(came + dearer, here) + tl.load(e + t * L + i, i < L, 0.0), NONE)
        tl.store(sums + t * L + i, here, i < L)


@triton.jit
def best_path(e, transitions, lengths, came, path, score, T, V, V2: tl.constexpr):
    """The best label at each frame [B, T], its path's score [B], and where each label came from [B, T, V]."""
    b = tl.program_id(0).to(tl.int64)
    v = tl.arange(0, V2)
    n = tl.load(lengths + b).to(tl.int32)
    there = (v[:, None] < V) & (v[None, :] < V)
    steps = tl.load(transitions + v[:, None] * V + v[None, :], there, NONE)  # [to, from]
    e += b * T * V
    came += b * T * V
    a = tl.load(e + v, v < V, NONE)
    for t in range(1, n):
        x = a[None, :] + steps
        tl.store(came + t * V + v, tl.argmax(x, 1), v < V)
        a = tl.max(x, 1) + tl.load(e + t * V + v, v < V, NONE)
    tl.store(score + b, tl.max(a, 0))
    label = tl.argmax(a, 0)
    tl.store(path + b * T + tl.maximum(n - 1, 0), label)
    tl.debug_barrier()  # what other threads have stored is read
    for i in range(1, n):
        label = tl.load(came + (n - i) * V + label)
        tl.store(path + b * T + n - i - 1, label)
