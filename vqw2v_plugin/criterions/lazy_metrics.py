"""What a training's log says, computed when it is printed: nothing here waits for the device before that."""

from typing import Any, Callable

import torch
from fairseq.logging import metrics
from torch import Tensor


def log_mean(name: str, value: Any, weight: Any = 1, digits: int = 3) -> None:
    """As `metrics.log_scalar`; the meter itself has an underscore before its name, so it is not printed."""
    metrics.log_scalar(f"_{name}", value, weight)
    log_rounded(name, lambda meters: torch.as_tensor(meters[f"_{name}"].avg), digits)


def log_rounded(name: str, derive: Callable[[Any], Tensor], digits: int = 3) -> None:
    """As `metrics.log_derived`, of tensors."""
    metrics.log_derived(name, lambda meters: torch.round(derive(meters).double(), decimals=digits))
