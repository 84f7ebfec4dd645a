"""Sounds that the tests of audio write and read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

Sound = Callable[..., Path]


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.1).astype(np.float32)


def sine(hertz: float, rate: int, seconds: float, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)
