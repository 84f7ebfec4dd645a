"""Emissions to decode: random ones, and ones that are sure of a path."""

import numpy as np

from vqw2v_plugin.decoding.units import BLANK, Units


def noise(frames: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, columns)).astype(np.float32) * 2


def sure(units: Units, path: str) -> np.ndarray:
    """[T, V] that says this path, `_` for the blank."""
    columns = [units.symbols.index(BLANK if symbol == "_" else symbol) for symbol in path]
    return np.eye(len(units), dtype=np.float32)[columns] * 20
