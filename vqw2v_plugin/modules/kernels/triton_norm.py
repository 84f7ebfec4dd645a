"""wav → z → c in training on a GPU: group norm over a whole utterance, by as many blocks as the chip has.

An utterance's frames are cut into P parts. Moments of parts are put together by whoever needs them (Chan et
al., 1979). Norm, activation, residual and what the next layer pads with are one pass, forward and backward.
Shapes: B batch, T frames, C channels, P parts of R frames, F frames of a block. All sums are fp32.
"""

import triton
import triton.language as tl


@triton.jit
def _whole(parts, b, P, R, T, C, P2: tl.constexpr):
    """Mean and spread of an utterance, of its parts' [B, P, 2]."""
    p = tl.arange(0, P2)
    frames = tl.minimum(tl.maximum(T - p * R, 0), R)
    n = tl.where(p < P, frames, 0).to(tl.float32) * C
    mean = tl.load(parts + (b * P + p) * 2, p < P, 0.0)
    spread = tl.load(parts + (b * P + p) * 2 + 1, p < P, 0.0)
    total = tl.sum(n, 0)
    centre = tl.sum(mean * n, 0) / total
    away = mean - centre
    return centre, (tl.sum(spread, 0) + tl.sum(away * away * n, 0)) / total, total


@triton.jit
def _read(at, t, c, T, C, stride):
    rows, columns = t[:, None], c[None, :]
    return tl.load(at + rows * stride + columns, (rows < T) & (columns < C), 0.0).to(tl.float32)


@triton.jit
def _column(at, c, C, given: tl.constexpr, otherwise: tl.constexpr):
    if given:
        return tl.load(at + c, c < C, otherwise).to(tl.float32)[None, :]
    else:
        return tl.full([1, c.shape[0]], otherwise, tl.float32)


@triton.jit
def _act(h, RELU: tl.constexpr):
    if RELU:
        return tl.maximum(h, 0.0)
    else:
        return 0.5 * h * (1.0 + tl.erf(h * 0.7071067811865476))


@triton.jit
def _slope(h, RELU: tl.constexpr):
    if RELU:
        return tl.where(h > 0, 1.0, 0.0)
    else:
        density = 0.3989422804014327 * tl.exp(-0.5 * h * h)
        return 0.5 * (1.0 + tl.erf(h * 0.7071067811865476)) + h * density


@triton.jit
def moments(
    y,
    bias,
    lengths,
    parts,
    T,
    C,
    P,
    R,
    BIAS: tl.constexpr,
    SOME: tl.constexpr,
    F: tl.constexpr,
    C2: tl.constexpr,
):
    """Mean and sum of squared distances of y + bias in each part: [B, T, C] → [B, P, 2]."""
    p, b = tl.program_id(0), tl.program_id(1)
    c = tl.arange(0, C2)
    last = tl.load(lengths + b).to(tl.int32) if SOME else T
    shift = _column(bias, c, C, BIAS, 0.0)
    start, stop = p * R, tl.minimum(p * R + R, last)
    count, mean, spread = 0.0, 0.0, 0.0
    for first in range(start, stop, F):
        t = first + tl.arange(0, F)
        inside = (t[:, None] < stop) & (c[None, :] < C)
        x = tl.where(inside, _read(y + b.to(tl.int64) * T * C, t, c, stop, C, C) + shift, 0.0)
        size = tl.minimum(stop - first, F).to(tl.float32) * C
        here = tl.sum(x) / size
        away = tl.where(inside, x - here, 0.0)
        step, total = here - mean, count + size
        spread += tl.sum(away * away) + step * step * count * size / total
        mean += step * size / total
        count = total
    tl.store(parts + (b * P + p) * 2, mean)
    tl.store(parts + (b * P + p) * 2 + 1, spread)


@triton.jit
def apply(
    y, bias, lengths, parts, weight, shift, skip, out, stats, T, C, P, R, eps, scale, skip_batch, out_batch,
    BIAS: tl.constexpr, AFFINE: tl.constexpr, SKIP: tl.constexpr, SOME: tl.constexpr, RELU: tl.constexpr,
    LOG: tl.constexpr, LEAD: tl.constexpr, REPLICATE: tl.constexpr, F: tl.constexpr, C2: tl.constexpr,
    P2: tl.constexpr,
):  # fmt: skip
    """act(norm(y + bias)), or (that + skip) · scale, or log(1 + that), behind LEAD frames of padding."""
    p, b = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C2)
    last = tl.load(lengths + b).to(tl.int32) if SOME else T
    mean, variance, _ = _whole(parts, b, P, R, last, C, P2)
    gain = 1.0 / tl.sqrt(variance + eps)
    if p == 0:
        tl.store(stats + b * 2, mean)
        tl.store(stats + b * 2 + 1, gain)
    added = _column(bias, c, C, BIAS, 0.0)
    w, s = _column(weight, c, C, AFFINE, 1.0), _column(shift, c, C, AFFINE, 0.0)
    into = out + b * out_batch + c[None, :]
    stop = tl.minimum(p * R + R, T)
    for first in range(p * R, stop, F):
        t = first + tl.arange(0, F)
        x = _act((_read(y + b * T * C, t, c, stop, C, C) + added - mean) * gain * w + s, RELU)
        if SKIP:
            x = (x + _read(skip + b * skip_batch, t, c, stop, C, C)) * scale
        if LOG:
            x = tl.log(1.0 + x)
        if SOME:
            x = tl.where(t[:, None] < last, x, 0.0)
        inside = (t[:, None] < stop) & (c[None, :] < C)
        value = x.to(out.dtype.element_ty)
        tl.store(into + (t[:, None] + LEAD) * C, value, inside)
        if REPLICATE:
            for j in range(LEAD):
                tl.store(into + (t[:, None] + j) * C, value, inside & (t[:, None] == 0))
    if (not REPLICATE) and (p == 0):
        for j in range(LEAD):
            tl.store(out + b * out_batch + j * C + c, tl.zeros([C2], out.dtype.element_ty), c < C)


@triton.jit
def gather(
    ahead, beside, into, T, C, R, scale, ahead_batch, BESIDE: tl.constexpr, LEAD: tl.constexpr,
    REPLICATE: tl.constexpr, F: tl.constexpr, C2: tl.constexpr,
):  # fmt: skip
    """A layer's output's gradient: what comes through the padded one, and scale · what comes beside it."""
    p, b = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C2)
    stop = tl.minimum(p * R + R, T)
    for first in range(p * R, stop, F):
        t = first + tl.arange(0, F)
        g = _given(ahead, beside, b, t, c, stop, T, C, scale, ahead_batch, BESIDE, LEAD, REPLICATE)
        inside = (t[:, None] < stop) & (c[None, :] < C)
        tl.store(into + b * T * C + t[:, None] * C + c[None, :], g.to(into.dtype.element_ty), inside)


@triton.jit
def _given(
    ahead, beside, b, t, c, stop, T, C, scale, ahead_batch, BESIDE: tl.constexpr, LEAD: tl.constexpr,
    REPLICATE: tl.constexpr,
):  # fmt: skip
    g = _read(ahead + b * ahead_batch + LEAD * C, t, c, stop, C, C)
    if REPLICATE:
        for j in range(LEAD):
            row = tl.load(ahead + b * ahead_batch + j * C + c, c < C, 0.0).to(tl.float32)
            g += tl.where(t[:, None] == 0, row[None, :], 0.0)
    if BESIDE:
        g += scale * _read(beside + b * T * C, t, c, stop, C, C)
    return g


@triton.jit
def reduce_backward(
    ahead, beside, g_out, y, bias, stats, weight, shift, sums, columns, T, C, P, R, scale, beside_scale,
    ahead_batch, columns_layer, BIAS: tl.constexpr, AFFINE: tl.constexpr, BESIDE: tl.constexpr,
    SKIP: tl.constexpr, RELU: tl.constexpr, LOG: tl.constexpr, LEAD: tl.constexpr, REPLICATE: tl.constexpr,
    STORE: tl.constexpr, F: tl.constexpr, C2: tl.constexpr,
):  # fmt: skip
    """Gathers the output's gradient, and sums over it what the norm's own needs: [B, P, 2] and by channel."""
    p, b = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C2)
    mean, gain = tl.load(stats + b * 2), tl.load(stats + b * 2 + 1)
    added = _column(bias, c, C, BIAS, 0.0)
    w, s = _column(weight, c, C, AFFINE, 1.0), _column(shift, c, C, AFFINE, 0.0)
    stop = tl.minimum(p * R + R, T)
    of_shift, of_weight = tl.zeros([C2], tl.float32), tl.zeros([C2], tl.float32)
    first_sum, second_sum = 0.0, 0.0
    for first in range(p * R, stop, F):
        t = first + tl.arange(0, F)
        inside = (t[:, None] < stop) & (c[None, :] < C)
        g = _given(ahead, beside, b, t, c, stop, T, C, beside_scale, ahead_batch, BESIDE, LEAD, REPLICATE)
        if STORE:
            tl.store(g_out + b * T * C + t[:, None] * C + c[None, :], g.to(g_out.dtype.element_ty), inside)
        normed = tl.where(inside, (_read(y + b * T * C, t, c, stop, C, C) + added - mean) * gain, 0.0)
        h = normed * w + s
        g = _through(g, h, scale, SKIP, RELU, LOG)
        of_shift += tl.sum(g, 0)
        of_weight += tl.sum(g * normed, 0)
        first_sum += tl.sum(g * w)
        second_sum += tl.sum(g * w * normed)
    tl.store(sums + (b * P + p) * 2, first_sum)
    tl.store(sums + (b * P + p) * 2 + 1, second_sum)
    row = columns + (b * P + p) * C + c
    tl.store(row, of_weight, c < C)
    tl.store(row + columns_layer, of_shift, c < C)


@triton.jit
def _through(g, h, scale, SKIP: tl.constexpr, RELU: tl.constexpr, LOG: tl.constexpr):
    """A gradient's way back through residual, logarithm and activation."""
    if SKIP:
        g = g * scale
    if LOG:
        g = g / (1.0 + _act(h, RELU))
    return g * _slope(h, RELU)


@triton.jit
def apply_backward(
    g_in, y, bias, stats, weight, shift, sums, columns, to_y, T, C, P, R, scale, BIAS: tl.constexpr,
    AFFINE: tl.constexpr, SKIP: tl.constexpr, RELU: tl.constexpr, LOG: tl.constexpr, F: tl.constexpr,
    C2: tl.constexpr, P2: tl.constexpr,
):  # fmt: skip
    """The gradient of y, and its sums by channel: a bias's."""
    p, b = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c, parts = tl.arange(0, C2), tl.arange(0, P2)
    mean, gain = tl.load(stats + b * 2), tl.load(stats + b * 2 + 1)
    size = T * C * 1.0
    level = tl.sum(tl.load(sums + (b * P + parts) * 2, parts < P, 0.0), 0) / size
    tilt = tl.sum(tl.load(sums + (b * P + parts) * 2 + 1, parts < P, 0.0), 0) / size
    added = _column(bias, c, C, BIAS, 0.0)
    w, s = _column(weight, c, C, AFFINE, 1.0), _column(shift, c, C, AFFINE, 0.0)
    stop = tl.minimum(p * R + R, T)
    of_bias = tl.zeros([C2], tl.float32)
    for first in range(p * R, stop, F):
        t = first + tl.arange(0, F)
        inside = (t[:, None] < stop) & (c[None, :] < C)
        normed = (_read(y + b * T * C, t, c, stop, C, C) + added - mean) * gain
        g = _through(_read(g_in + b * T * C, t, c, stop, C, C), normed * w + s, scale, SKIP, RELU, LOG)
        to_x = tl.where(inside, (g * w - level - normed * tilt) * gain, 0.0)
        tl.store(to_y + b * T * C + t[:, None] * C + c[None, :], to_x.to(to_y.dtype.element_ty), inside)
        of_bias += tl.sum(to_x, 0)
    tl.store(columns + (b * P + p) * C + c, of_bias, c < C)


@triton.jit
def lay_out(table, like, CENTRE: tl.constexpr, C2: tl.constexpr, K2: tl.constexpr):
    """Weights [O, C, K] of whatever strides copied to others; those that are to be, less their mean over C.

    A row of the table: where from, where to, O, C, K, three strides, three strides there, whether to centre.
    """
    row, o = table + tl.program_id(0) * 12, tl.program_id(1)
    kind = tl.pointer_type(like.dtype.element_ty)
    if o < tl.load(row + 2):
        source, target = tl.load(row).to(kind), tl.load(row + 1).to(kind)
        C, K = tl.load(row + 3), tl.load(row + 4)
        c, k = tl.arange(0, C2)[:, None], tl.arange(0, K2)[None, :]
        inside = (c < C) & (k < K)
        source += o * tl.load(row + 5)
        x = tl.load(source + c * tl.load(row + 6) + k * tl.load(row + 7), inside, 0.0)
        if CENTRE:
            wide = x.to(tl.float32)
            mean = (tl.sum(wide, 0) / C)[None, :] * tl.load(row + 11).to(tl.float32)
            x = (wide - mean).to(like.dtype.element_ty)
        target += o * tl.load(row + 8)
        tl.store(target + c * tl.load(row + 9) + k * tl.load(row + 10), x, inside)
