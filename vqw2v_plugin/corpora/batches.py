"""How models learn, what they are fed: how neighbours in a split are cut into batches."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_SPREAD = 1.04  # utterances of lengths within this ratio change places from epoch to epoch


class BatchLimits(NamedTuple):
    """What fairseq's options say of batches."""

    max_tokens: int | None = None
    max_sentences: int | None = None
    multiple: int = 1  # `required_batch_size_multiple`


def nearly_equal(sizes: Ints) -> npt.NDArray[Any]:
    """A number for each length, the same for those that are nearly equal."""
    steps: npt.NDArray[np.float64] = np.floor(np.log(np.maximum(sizes, 1)) / np.log(_SPREAD))
    return steps


def cut_padded(indices: Ints, sizes: Ints, limits: BatchLimits) -> list[Ints]:
    """Neighbours as long as (number × longest) fits; what is too long by itself is a batch of its own."""
    batches, begin, longest = [], 0, 0
    for end, size in enumerate(sizes.tolist()):
        longest, count = max(longest, size), end - begin + 1
        is_over = bool(limits.max_tokens and count * longest > limits.max_tokens)
        if end > begin and (is_over or (limits.max_sentences and count > limits.max_sentences)):
            batches.append(indices[begin:end])
            begin, longest = end, size
    return [*batches, indices[begin:]] if len(indices) else []


def cut_packed(indices: Ints, sizes: Ints, limits: BatchLimits) -> list[Ints]:
    """Batches filled up to `max_tokens`, where nothing is padded."""
    ends = sizes.cumsum()
    bounds = [0]
    while bounds[-1] < len(indices):
        begin = bounds[-1]
        end = min(len(indices), begin + limits.max_sentences) if limits.max_sentences else len(indices)
        if limits.max_tokens:
            before = ends[begin - 1] if begin else 0
            end = min(end, int(np.searchsorted(ends, before + limits.max_tokens, side="right")))
        bounds.append(end)
    return np.split(indices, bounds[1:-1])
