"""wav → features or tokens of many clips at once, as a GPU wants them: which go together, and their way back.

Shapes: T frames, D numbers of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

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


def fit_side_by_side(samples: Sequence[int]) -> bool:
    """Whether they do that are padded to the longest; what could not be read is none."""
    return sum(n > 0 for n in samples) * max(samples, default=0) <= SAMPLES


def side_by_side(
    clips: Sequence[Tensor], normalize: bool, device: torch.device
) -> tuple[Tensor, list[int]]:  # [S] each → [B, S], and S
    """Those on the device, perhaps each at mean 0 and variance 1 before."""
    wav = pad_sequence([F.layer_norm(x, x.shape) if normalize else x for x in clips], batch_first=True)
    if device.type == "cuda" and wav.device.type == "cpu":
        wav = wav.pin_memory()
    return wav.to(device, non_blocking=True), [len(clip) for clip in clips]


def to_device(clips: Sequence[Tensor], device: torch.device) -> list[Tensor]:  # [S] each
    """By one copy, for which nobody waits."""
    if all(clip.device == device for clip in clips):
        return list(clips)
    whole = torch.cat(list(clips))
    if device.type == "cuda" and whole.device.type == "cpu":
        whole = whole.pin_memory()
    return list(torch.split(whole.to(device, non_blocking=True), [len(clip) for clip in clips]))


def to_processor(parts: Sequence[Tensor]) -> list[Tensor]:  # [T, D] each
    """With one wait for all."""
    whole = torch.cat(list(parts)).cpu()
    return list(torch.split(whole, [len(part) for part in parts]))
