"""distances between groups → a tree that joins the nearest first, and places on a plane.

K groups. Both are small: groups are languages, domains or speakers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def average_linkage(distances: Floats) -> Floats:  # [K, K] → [K - 1, 4]
    """Joins by average distance (UPGMA): a row is two clusters, their distance, and how many groups it joins.

    Groups are 0 … K − 1, the cluster of row i is K + i, as scipy has it.
    """
    count = _check(distances)
    between: dict[tuple[int, int], float] = {
        (i, j): float(distances[i, j]) for i in range(count) for j in range(i + 1, count)
    }
    sizes, rows = dict.fromkeys(range(count), 1), []
    for made in range(count, 2 * count - 1):
        (a, b), height = min(between.items(), key=lambda item: (item[1], item[0]))
        size = sizes[a] + sizes[b]
        for other in sizes:
            if other not in (a, b):
                parts = [sizes[each] * between.pop(_pair(each, other)) for each in (a, b)]
                between[other, made] = sum(parts) / size
        del between[a, b], sizes[a], sizes[b]
        sizes[made] = size
        rows.append((a, b, height, size))
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def leaves(tree: Floats) -> list[int]:
    """The groups in an order in which no two branches cross."""
    count = len(tree) + 1
    order, waiting = [], [2 * count - 2]
    while waiting:
        node = waiting.pop()
        if node < count:
            order.append(node)
        else:
            a, b = tree[node - count, :2].astype(int).tolist()
            waiting += [b, a]
    return order


def classical_scaling(distances: Floats, dims: int = 2) -> tuple[Floats, float]:  # [K, K] → [K, dims]
    """Places whose distances are the nearest to these (Torgerson), and the share of them that it shows.

    Each axis points to where its largest coordinate is positive, so that the same distances give one map.
    """
    count = _check(distances)
    centring = np.eye(count) - 1 / count
    products = -0.5 * centring @ np.square(distances) @ centring
    values, vectors = np.linalg.eigh((products + products.T) / 2)
    order = np.argsort(-values, kind="stable")[:dims]
    kept = np.maximum(values[order], 0)
    places = np.zeros((count, dims))
    places[:, : len(order)] = vectors[:, order] * np.sqrt(kept)
    largest = np.abs(places).argmax(axis=0)
    places *= np.where(places[largest, np.arange(dims)] < 0, -1.0, 1.0)
    whole = float(np.maximum(values, 0).sum())
    return places, float(kept.sum()) / whole if whole else 1.0


def _check(distances: Any) -> int:
    shape = np.shape(distances)
    if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
        raise ValueError(f"distances have the shape {shape}; expected [groups, groups]")
    return int(shape[0])


def _pair(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def joined(tree: Floats, names: Sequence[str]) -> str:
    """The tree in words: `((de nl) fr)`."""
    said = list(names)
    for a, b in tree[:, :2].astype(int).tolist():
        said.append(f"({said[a]} {said[b]})")
    return said[-1]
