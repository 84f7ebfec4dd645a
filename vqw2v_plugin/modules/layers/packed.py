"""Any arrow over time: a batch's utterances one after the other, without padding, and side by side with it.

Shapes: B utterances, T frames of the longest, N of all, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def pack(x: Tensor, lengths: Sequence[int]) -> Tensor:  # [B, T, C] → [N, C]
    if min(lengths) == x.size(1):
        return x.flatten(0, 1)
    return torch.cat([row[:length] for row, length in zip(x, lengths, strict=True)])


def unpack(x: Tensor, lengths: Sequence[int]) -> Tensor:  # [N, C] → [B, T, C]
    """Zeros stand behind an utterance's end."""
    if min(lengths) == max(lengths):
        return x.view(len(lengths), -1, x.size(-1))
    side_by_side: Tensor = pad_sequence(list(torch.split(x, list(lengths))), batch_first=True)
    return side_by_side
