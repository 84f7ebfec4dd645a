"""Emissions as a mediocre model of letters would give them, made from sentences: for tests of decoding."""

import numpy as np
from numpy.typing import NDArray

from vqw2v_plugin.text.units import Units, ctc_units

UNITS = ctc_units(["|", *"abcdefghijklmnopqrstuvwxyz'"])
SENTENCES = ["the cat sat on the mat", "the dog sat on the cat", "a cat and a dog", "the mat and the hat"] * 2


def fake_emissions(text: str, units: Units = UNITS, seed: int = 0, noise: float = 1.0) -> NDArray[np.float32]:
    """[T, V]: each letter for two frames behind a blank, all columns disturbed."""
    columns = [units.symbols.index(letter) for letter in text.replace(" ", "|") + "|"]
    path = [column for c in columns for column in (units.blank or 0, c, c)]
    rng = np.random.default_rng(seed)
    loud = 4 * np.eye(len(units))[path] + noise * rng.normal(size=(len(path), len(units)))
    return loud.astype(np.float32)
