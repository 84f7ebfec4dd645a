"""Emissions to decode: random ones, and ones that are sure of a path; letters and words to find in them."""

import numpy as np

from vqw2v_plugin.text.units import BLANK, Units, ctc_units

CTC = ctc_units(["|", *"abc"])
WORDS = {word: [tuple(word)] for word in ("a", "ab", "cab", "baa")}


def noise(frames: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, columns)).astype(np.float32) * 2


def sure(units: Units, path: str) -> np.ndarray:
    """[T, V] that says this path, `_` for the blank."""
    columns = [units.symbols.index(BLANK if symbol == "_" else symbol) for symbol in path]
    return np.eye(len(units), dtype=np.float32)[columns] * 20
