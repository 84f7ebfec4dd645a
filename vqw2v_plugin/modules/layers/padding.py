"""Any arrow over time: where a batch of sequences of different lengths is padding."""

from __future__ import annotations

import torch
from torch import Tensor


def padding(lengths: Tensor, size: int) -> Tensor:
    """[B] → [B, size], True on padding: behind each sequence's end."""
    return torch.arange(size, device=lengths.device) >= lengths.unsqueeze(1)
