"""z ──quantizer──▶ tokens: how the codes have been used lately, kept with the weights.

Shapes: G groups, V codes a group.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..kernels.kept import kept
from ..layers.ranks import sum_over_ranks
from .base import FullPrecision, count_perplexity

MEMORY = 0.98  # of the window from one update to the next: it is some 50 updates long
_JOINT_CELLS = 2**17
_ODD = 0x9E3779B97F4A7C15


class CodebookHealth(FullPrecision):
    """Counts over the last updates of a training, summed over its ranks; they are in the checkpoint."""

    window: Tensor  # [G, V] counts that fade
    idle: Tensor  # [G, V] updates since the code was last chosen

    def __init__(self, num_groups: int, num_codes: int) -> None:
        super().__init__()
        kept = num_groups > 0  # a model without codes has nothing to keep
        self.register_buffer("window", torch.zeros(num_groups, num_codes), kept)
        self.register_buffer("idle", torch.zeros(num_groups, num_codes, dtype=torch.int32), kept)
        self._pending: Tensor | None = None

    def add(self, counts: Tensor) -> None:  # [G, V]
        """The counts of one batch; they take effect with the end of the update."""
        if counts.numel():
            self._pending = counts if self._pending is None else self._pending + counts

    def discard(self) -> None:
        self._pending = None

    def end_update(self) -> None:
        if self._pending is None:
            return
        counts, self._pending = sum_over_ranks(self._pending), None
        self.window.mul_(MEMORY).add_(counts)
        self.idle.add_(1).masked_fill_(counts > 0, 0)

    def perplexity(self) -> Tensor:  # [G]
        return count_perplexity(self.window)

    def share(self) -> Tensor:  # [G]
        """Perplexity between 0, one code is all there is, and 1, all are equally frequent."""
        return (self.perplexity() - 1) / max(1, self.window.size(1) - 1)

    def dead(self, updates: int) -> Tensor:  # [G]
        """Codes that so many updates have not chosen."""
        return (self.idle >= updates).sum(-1)


def num_joint_cells(num_groups: int, num_codes: int) -> int:
    """Cells of `joint_counts`: V^G, or 2¹⁷ where that is less."""
    return int(min(num_codes**num_groups, _JOINT_CELLS))


def joint_counts(codes: Tensor, num_codes: int) -> Tensor:  # [B, T, G] → [cells]
    """How often each combination of the groups' codes occurs; beyond 2¹⁷ of them, hashes share the cells."""
    groups = codes.size(-1)
    ids = (codes.flatten(0, -2) * _factors(groups, num_codes, codes.device)).sum(-1)  # [N]
    if num_codes**groups > _JOINT_CELLS:  # the upper bits of the products are the well-mixed ones
        ids = (ids >> 40) & (_JOINT_CELLS - 1)
    counts = torch.zeros(num_joint_cells(groups, num_codes), device=codes.device)
    return counts.scatter_add_(0, ids, torch.ones_like(ids, dtype=counts.dtype))


@kept(16)
def _factors(groups: int, num_codes: int, device: torch.device) -> Tensor:  # [G]
    exact = num_codes**groups <= _JOINT_CELLS
    factors = [num_codes**g if exact else _signed(pow(_ODD, g + 1, 2**64)) for g in range(groups)]
    return torch.tensor(factors, device=device)


def _signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x
