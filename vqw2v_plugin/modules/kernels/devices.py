"""Which of an arrow's ways a tensor takes: a processor's, or a GPU's, where each call costs."""

from __future__ import annotations

from torch import Tensor


def is_gpu(x: Tensor) -> bool:
    """Where few calls for much work pay."""
    return x.device.type == "cuda"
