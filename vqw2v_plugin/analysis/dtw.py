"""Two stretches of z, c, codes … → their distance: frame by frame, then by dynamic time warping.

Shapes: P pairs, N and M frames of a pair's stretches, D features of a frame, G groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .abx_choices import DISTANCES

RESOLUTION = 2.0**-18  # frame distances are multiples of this: equal paths cost the same, in any order
LENGTH_BITS = 16  # the low bits of a path's cost, which count its steps
CLOSE = 1e-6  # unit vectors whose product is so close to 1 are the same as far as fp32 can tell
Floats = npt.NDArray[np.float64]


def prepare_frames(frames: npt.NDArray[Any], distance: str) -> npt.NDArray[Any]:  # [F, D] → [F, D]
    """What `frame_distances` compares: unit vectors, vectors in the unit ball, or codes."""
    if distance not in DISTANCES:
        raise ValueError(f"`distance` is {distance!r}; expected one of {', '.join(DISTANCES)}")
    if distance == "codes":
        return np.asarray(frames, dtype=np.int32)
    vectors = np.asarray(frames, dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)  # [F, 1]
    if distance == "euclidean":
        norms = norms.max(keepdims=True, initial=0)
    unit: npt.NDArray[Any] = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit


def frame_distances(x: npt.NDArray[Any], y: npt.NDArray[Any], distance: str) -> npt.NDArray[Any]:
    """Prepared [P, N, D] and [P, M, D] → [P, N, M], each from 0 to 1; ABX does not depend on their scale."""
    if distance == "codes":
        groups = [(x[:, :, None, g], y[:, None, :, g]) for g in range(x.shape[2])]
        differ = sum((one != other) | (one < 0) for one, other in groups)  # [P, N, M]
        return np.asarray(differ, dtype=np.float32) / np.float32(len(groups))
    dots = x @ y.transpose(0, 2, 1)  # [P, N, M]
    if distance == "euclidean":
        squares = (x * x).sum(2)[:, :, None] + (y * y).sum(2)[:, None, :]
        apart = squares - 2 * dots
        apart[apart < CLOSE * squares] = 0
        return np.asarray(np.sqrt(apart) / 2)
    dots[dots > 1 - CLOSE] = 1
    np.maximum(dots, -1, out=dots)
    return np.asarray(np.arccos(dots) / np.float32(np.pi) if distance == "angular" else (1 - dots) / 2)


def dtw(costs: npt.NDArray[Any]) -> Floats:  # [P, N, M] → [P]
    """The mean cost along the cheapest path from the first frames to the last; of two equals the shorter.

    Each step of a path advances one stretch or both by a frame; costs lie between 0 and 1.
    """
    _, num_rows, num_columns = costs.shape
    check_lengths(num_rows, num_columns)
    cells = np.rint(costs.transpose(1, 2, 0) / RESOLUTION).astype(np.int64)  # [N, M, P]
    cells = (cells << LENGTH_BITS) + 1  # a path's cost, then its length: one minimum for both
    best = np.cumsum(cells[0], axis=0)  # [M, P]
    for row in cells[1:]:
        reached = np.minimum(best[1:], best[:-1])  # from above or from both
        best[0] += row[0]
        for j in range(1, num_columns):
            np.minimum(reached[j - 1], best[j - 1], out=best[j])
            best[j] += row[j]
    total = best[-1]
    return np.asarray((total >> LENGTH_BITS) * RESOLUTION / (total & ((1 << LENGTH_BITS) - 1)))


def check_lengths(num_rows: int, num_columns: int) -> None:
    if num_rows + num_columns > 1 << LENGTH_BITS:
        raise ValueError(
            f"stretches of {num_rows} and {num_columns} frames; expected less than 65,536 in all"
        )


def pair_distances(
    frames: npt.NDArray[Any],  # [F, D], prepared
    starts: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    pairs: npt.NDArray[np.int64],  # [P, 2]
    distance: str,
    chunk_bytes: int = 1 << 23,
) -> Floats:  # [P]
    """The distance of each pair of stretches `frames[start : start + size]`; pairs of one shape at once."""
    found = np.empty(len(pairs))
    for some, rows, columns, n, m in buckets(starts, sizes, pairs, frames.shape[1], chunk_bytes):
        x = frames[rows[:, None] + np.arange(n)]  # [P, N, D]
        y = frames[columns[:, None] + np.arange(m)]  # [P, M, D]
        found[some] = dtw(frame_distances(x, y, distance))
    return found


def buckets(
    starts: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    pairs: npt.NDArray[np.int64],  # [P, 2]
    dim: int,
    chunk_bytes: int,
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], int, int]]:
    """Pairs of one shape, as many as fit: which, where either's stretches start, and how long these are."""
    flipped = sizes[pairs[:, 0]] > sizes[pairs[:, 1]]
    pairs = np.where(flipped[:, None], pairs[:, ::-1], pairs)
    rows, columns = sizes[pairs[:, 0]], sizes[pairs[:, 1]]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], columns, rows))
    changes = np.flatnonzero(np.diff(rows[order]) | np.diff(columns[order])) + 1
    for bucket in np.split(order, changes):
        if not len(bucket):
            continue
        n, m = int(rows[bucket[0]]), int(columns[bucket[0]])
        step = max(1, chunk_bytes // (4 * ((n + m) * dim + 4 * n * m)))
        for begin in range(0, len(bucket), step):
            some = bucket[begin : begin + step]
            yield some, starts[pairs[some, 0]], starts[pairs[some, 1]], n, m
