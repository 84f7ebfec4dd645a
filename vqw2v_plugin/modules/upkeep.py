"""How a k-means codebook is kept alive: entries that follow their frames' mean, and dead codes moved to use.

Both work on sums over the frames of an update, so several ranks do what one process does with all the frames,
and nothing is drawn that a resumed run would draw otherwise.
Shapes: N frames, G groups, V codes a group, D entry size; K codebooks (G, or 1 that the groups share).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .health import FullPrecision
from .quantizer import ProductCodebook
from .ranks import sum_over_ranks

_STEP = 0.5  # how far from its cell's mean a moved code starts, in the cell's standard deviations


class CodebookUpkeep(FullPrecision):
    """Moving averages (VQ-VAE, arXiv 1711.00937, appendix A.1); large cells split (Linde et al., 1980)."""

    ema_counts: Tensor  # [K, V]
    ema_sums: Tensor  # [K, V, D]
    idle: Tensor  # [K, V] updates since the code was last chosen

    def __init__(self, codebook: ProductCodebook, ema_decay: float, revive_after: int) -> None:
        super().__init__()
        self.ema_decay, self.revive_after = ema_decay, revive_after
        entries = codebook.entries
        if ema_decay:
            entries.requires_grad_(False)
            self.register_buffer("ema_counts", torch.ones(entries.shape[:2]))
            self.register_buffer("ema_sums", entries.detach().clone())
        if revive_after:
            self.register_buffer("idle", torch.zeros(entries.shape[:2], dtype=torch.int32))
            if not ema_decay:
                codebook.register_buffer("moved", torch.zeros_like(entries))
        self._pending: Tensor | None = None

    @torch.no_grad()
    def add(self, z: Tensor, codes: Tensor, codebook: ProductCodebook) -> None:  # [N, G, D], [N, G]
        """The frames of one batch; they take effect with the end of the update."""
        books, num_codes, dim = codebook.entries.shape
        cells = codebook.rows(codes).flatten()  # [N·G]
        z = z.reshape(-1, dim).float()  # [N·G, D]
        parts = [torch.ones_like(z[:, :1]), z] + ([z.square()] if self.revive_after else [])
        rows = torch.cat(parts, 1)  # [N·G, 1 + D or 1 + 2·D]
        sums = rows.new_zeros(books * num_codes, rows.size(1)).index_add_(0, cells, rows)
        sums = sums.view(books, num_codes, -1)
        self._pending = sums if self._pending is None else self._pending + sums

    def discard(self) -> None:
        self._pending = None

    @torch.no_grad()
    def end_update(self, num_updates: int, codebook: ProductCodebook) -> None:
        if self._pending is None:
            return
        sums, self._pending = sum_over_ranks(self._pending), None
        dim = codebook.entries.size(-1)
        counts, totals = sums[..., 0], sums[..., 1 : 1 + dim]  # [K, V], [K, V, D]
        if self.ema_decay:
            self._follow(counts, totals, codebook)
        if self.revive_after:
            self.idle.add_(1).masked_fill_(counts > 0, 0)
            self._revive(counts, totals, sums[..., 1 + dim :], num_updates, codebook)

    def _follow(self, counts: Tensor, totals: Tensor, codebook: ProductCodebook) -> None:
        # a code without frames keeps its place: both averages would fade alike until they underflow
        share = torch.where(counts > 0, 1 - self.ema_decay, 0.0)  # [K, V]
        self.ema_counts.lerp_(counts, share)
        self.ema_sums.lerp_(totals, share.unsqueeze(-1))
        codebook.entries.copy_(self.ema_sums / self.ema_counts.unsqueeze(-1))

    def _revive(
        self, counts: Tensor, totals: Tensor, squares: Tensor, num_updates: int, codebook: ProductCodebook
    ) -> None:
        """The k-th dead code moves into the cell with the k-th largest scatter, beside that cell's mean."""
        size = counts.clamp_min(1).unsqueeze(-1)
        means = totals / size  # [K, V, D]
        variances = (squares / size - means.square()).clamp_min(0)
        scatter = torch.where(counts >= 2, counts * variances.sum(-1), 0.0)  # [K, V]
        dead = self.idle >= self.revive_after
        worst = scatter.argsort(dim=-1, descending=True, stable=True)
        rank = (dead.cumsum(-1) - 1).clamp_min(0)  # [K, V]
        target = worst.gather(-1, rank)  # [K, V] the cell that each dead code would move into
        moves = (dead & (scatter.gather(-1, target) > 0)).unsqueeze(-1)  # [K, V, 1]
        at = means + _STEP * _signs(num_updates, means) * variances.sqrt()
        at = at.gather(1, target.unsqueeze(-1).expand_as(at))  # [K, V, D]
        self.idle.masked_fill_(moves.squeeze(-1), 0)
        if self.ema_decay:
            self.ema_counts.masked_fill_(moves.squeeze(-1), 1.0)
            self.ema_sums.copy_(torch.where(moves, at, self.ema_sums))
            codebook.entries.copy_(torch.where(moves, at, codebook.entries))
        elif codebook.moved is not None:
            codebook.moved.copy_(torch.where(moves, at - codebook.entries, codebook.moved))


def _signs(num_updates: int, like: Tensor) -> Tensor:  # [D]
    """The same on all ranks, and in a run that was resumed."""
    drawn = torch.Generator().manual_seed(num_updates)
    return (torch.randint(2, (like.size(-1),), generator=drawn) * 2 - 1).to(like)
