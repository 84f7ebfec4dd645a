"""features → features, prepared: slopes beside them, and their mean and scale taken away.

Shapes: T frames, F features, D = F · (1 + deltas).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

_REACH = 2  # frames to each side that a slope looks at
_LEAST_DEVIATION = 1e-5  # of a feature that hardly varies


@dataclass(frozen=True)
class Moments:
    """Of each feature, over the frames of an utterance or of all that a speaker said."""

    mean: Tensor  # [D]
    deviation: Tensor  # [D]


def with_slopes(x: Tensor, times: int) -> Tensor:  # [T, F] → [T, D]
    """The slopes beside the features, and for 2 times the slopes of the slopes too."""
    parts = [x]
    for _ in range(times):
        parts.append(slopes(parts[-1]))
    return torch.cat(parts, 1)


def slopes(x: Tensor) -> Tensor:  # [T, F] → [T, F]
    """The least-squares slope over five frames; the first and the last frame go on beyond the ends."""
    padded = torch.cat([x[:1].expand(_REACH, -1), x, x[-1:].expand(_REACH, -1)])
    steps = range(1, _REACH + 1)
    size = len(x)
    found = torch.zeros_like(x)
    for n in steps:
        found += n * (padded[_REACH + n : _REACH + n + size] - padded[_REACH - n : _REACH - n + size])
    return found / (2 * sum(n * n for n in steps))


def moments_of(x: Tensor) -> Moments:  # [T, D]
    return Moments(x.mean(0), x.std(0, correction=0).clamp_min(_LEAST_DEVIATION))


def moments_of_all(parts: Iterable[Tensor]) -> Moments:
    """Of several clips' frames [T, D] taken together, summed in float64; ValueError where there are none."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for part in parts:
        part = part.double().cpu()
        count, total, squares = count + len(part), total + part.sum(0), squares + part.square().sum(0)
    if not count:
        raise ValueError("there are no frames to take a mean of; expected at least one")
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_min(0).sqrt().clamp_min(_LEAST_DEVIATION)
    return Moments(mean.float(), deviation.float())


def standardized(x: Tensor, moments: Moments | None = None) -> Tensor:  # [T, D] → [T, D]
    """At mean 0 and variance 1; without moments by the clip's own."""
    moments = moments_of(x) if moments is None else moments
    return (x - moments.mean.to(x.device)) / moments.deviation.to(x.device)
