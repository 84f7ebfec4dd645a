"""The wav of the picture, without the silence around it: from where to where something is said.

Shapes: S samples, H hops.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .reading import Samples

HOP = 0.01  # seconds
_LEAST_RANGE = 6.0  # dB between loud and quiet; with less there is nothing to tell apart
_ABOVE = 0.3  # of that range over the quiet, from where on something is said
_NEAR, _ENOUGH = 5, 3  # so many hops of so many: a click is no beginning
_FLOOR = 1e-10  # of a power: digital silence


def said_hops(wav: Samples, hop: int) -> npt.NDArray[np.bool_] | None:  # [S] → [H]
    """In which hops of so many samples something is said; None for a clip that is of one loudness."""
    hops = len(wav) // hop
    if hops < _NEAR:
        return None
    power = np.square(wav[: hops * hop].astype(np.float64)).reshape(hops, hop).mean(1)  # [H]
    level = 10 * np.log10(power + _FLOOR)
    quiet, loud = np.percentile(level, [5, 95])
    if loud - quiet < _LEAST_RANGE:
        return None
    said: npt.NDArray[np.bool_] = level > quiet + _ABOVE * (loud - quiet)
    near = np.convolve(said, np.ones(_NEAR), "same") >= _ENOUGH
    return said & near


def speech_span(wav: Samples, sample_rate: int) -> tuple[int, int]:
    """The first sample of what is said and the one after its last; all of a clip that is of one loudness."""
    hop = max(1, int(sample_rate * HOP))
    said = said_hops(wav, hop)
    places = np.flatnonzero(said) if said is not None else np.empty(0, np.int64)
    if not len(places):
        return 0, len(wav)
    return int(places[0]) * hop, min(len(wav), (int(places[-1]) + 1) * hop)
