"""How encoder and quantizer learn: whether they do, by the last updates of a training.

Shapes: B batch, T frames, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..layers.ranks import sum_over_ranks
from ..quantizers.health import MEMORY


class LearningSigns:
    """Sums over the last updates and over all ranks; a run that is resumed begins them anew."""

    def __init__(self) -> None:
        self._window: Tensor | None = None  # [6]
        self._pending: Tensor | None = None

    @torch.no_grad()
    def add(self, correct: Tensor, num_predictions: int, z: Tensor, c: Tensor) -> None:  # [], [B, T, C] both
        """One batch; it takes effect with the end of the update."""
        made = correct.new_tensor(float(num_predictions), dtype=torch.float32)
        sums = torch.stack([correct.float(), made, *_power(z), *_power(c)])
        self._pending = sums if self._pending is None else self._pending + sums

    def discard(self) -> None:
        self._pending = None

    def end_update(self) -> None:
        if self._pending is None:
            return
        sums, self._pending = sum_over_ranks(self._pending), None
        self._window = sums if self._window is None else self._window * MEMORY + sums

    def shares(self) -> tuple[float, float, float] | None:
        """Accuracy, and how much of z's and of c's power varies over time; waits for the device."""
        if self._window is None:
            return None
        correct, made, z_varies, z, c_varies, c = self._window.tolist()
        return correct / max(made, 1.0), z_varies / max(z, 1e-30), c_varies / max(c, 1e-30)


def _power(x: Tensor) -> list[Tensor]:  # [B, T, C]
    """What of the mean square varies over time, and all of it."""
    wide = x.detach().float()
    total = wide.square().mean()
    return [total - wide.mean(1).square().mean(), total]
