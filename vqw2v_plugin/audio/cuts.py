"""The wav of the picture, cut where it is quietest: long recordings as parts that fit into memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .clip import Clip
from .reading import audio_info, read_audio

_HOP = 0.01  # seconds, between two energies
_ROUNDING = 1e-6  # error of a quotient that should be whole
_LONGEST = 86_400  # seconds; more than memory has for a model's outputs
_PAUSE = 20  # consecutive hops that have to be quiet


@dataclass(frozen=True)
class Part:
    """`samples` samples from `start`, in the file's own rate; `start` is tick number `tick`."""

    start: int
    samples: int
    tick: int


def check_limit(limit: float) -> None:
    """Refuses lengths that no part can have."""
    if not 1 <= limit <= _LONGEST:
        raise ValueError(
            f"`limit` is {limit:g} s; expected 1, as a pause must be found in half of it, to {_LONGEST:,}"
        )


def parts_of(path: str | os.PathLike[str], limit: float, tick_seconds: float) -> Iterator[Part]:
    """A file of up to `limit` seconds as it is; a longer one in parts of a quarter of `limit` up to `limit`.

    Each cut is in the middle of the quietest 0.2 s of a part's second half, on a multiple of `tick_seconds`.
    """
    check_limit(limit)
    info = audio_info(path)
    rate, longest = info.sample_rate, int(limit * info.sample_rate)
    start = tick = 0
    while info.samples - start > longest:
        first, last = start + longest // 2, min(start + longest, info.samples - longest // 4)
        after = int(_quietest(path, rate, first, last) / rate / tick_seconds + _ROUNDING)
        end = round(after * tick_seconds * rate)
        yield Part(start, end - start, tick)
        start, tick = end, after
    yield Part(start, info.samples - start, tick)


def _quietest(path: str | os.PathLike[str], rate: int, first: int, last: int) -> int:
    """The sample in the middle of the quietest pause between two samples."""
    wav = read_audio(Clip(os.fspath(path), last - first, first), rate)
    hop = max(1, int(rate * _HOP))
    energies = np.square(wav[: len(wav) // hop * hop].astype(np.float64)).reshape(-1, hop).sum(1)
    sums = np.cumsum(np.concatenate([[0.0], energies]))
    pauses = sums[_PAUSE:] - sums[:-_PAUSE]  # energies over `_PAUSE` hops
    return first + (int(pauses.argmin()) + _PAUSE // 2) * hop
