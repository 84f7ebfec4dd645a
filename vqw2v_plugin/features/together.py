"""wav → features or tokens of many clips at once, as a GPU wants them: which go together, and their way back.

Shapes: T frames, D numbers of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

SAMPLES = 1 << 21  # of a batch on a GPU, with what pads it: 131 s
_Clip = TypeVar("_Clip")
Fits = Callable[[Sequence[int]], bool]  # whether clips of so many samples go together


def batches(clips: Iterable[_Clip], size: Callable[[_Clip], int], fits: Fits) -> Iterator[list[_Clip]]:
    """One after the other, as many as fit; a clip that fits with nothing is by itself."""
    held: list[_Clip] = []
    sizes: list[int] = []
    for clip in clips:
        samples = size(clip)
        if held and not fits([*sizes, samples]):
            yield held
            held, sizes = [], []
        held.append(clip)
        sizes.append(samples)
    if held:
        yield held


def to_processor(parts: Sequence[Tensor]) -> list[Tensor]:  # [T, D] each
    """With one wait for all."""
    whole = torch.cat(list(parts)).cpu()
    return list(torch.split(whole, [len(part) for part in parts]))
