"""Any arrow over time: a batch's utterances one after the other, without padding, and side by side with it.

Shapes: B utterances, T frames of the longest, N of all, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..kernels import devices
from ..kernels.kept import kept


def pack(x: Tensor, lengths: Sequence[int]) -> Tensor:  # [B, T, C] → [N, C]
    if min(lengths) == x.size(1):
        return x.flatten(0, 1)
    if devices.is_gpu(x):
        return x.flatten(0, 1).index_select(0, _places(tuple(lengths), x.size(1), x.device))
    return torch.cat([row[:length] for row, length in zip(x, lengths, strict=True)])


def unpack(x: Tensor, lengths: Sequence[int]) -> Tensor:  # [N, C] → [B, T, C]
    """Zeros stand behind an utterance's end."""
    if min(lengths) == max(lengths):
        return x.view(len(lengths), -1, x.size(-1))
    if devices.is_gpu(x):
        size = max(lengths)
        behind = x.new_zeros(len(lengths) * size, x.size(-1))
        side_by_side = behind.index_copy(0, _places(tuple(lengths), size, x.device), x)
        return side_by_side.view(len(lengths), size, -1)
    padded: Tensor = pad_sequence(list(torch.split(x, list(lengths))), batch_first=True)
    return padded


@kept(maxsize=4)
def _places(lengths: tuple[int, ...], size: int, device: torch.device) -> Tensor:  # [N]
    """Of each frame among `size` of each utterance: on a GPU one call for all, and one copy for a batch."""
    frames = [torch.arange(n, device="cpu") + i * size for i, n in enumerate(lengths)]
    return torch.cat(frames).to(device, non_blocking=True)
