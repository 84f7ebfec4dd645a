"""z ──quantizer──▶ tokens by nearest neighbour, straight-through (vq-wav2vec §3.2; VQ-VAE, arXiv 1711.00937).

Shapes: B batch, T frames, C channels, G groups, V codes a group, D entry size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers.norm import GroupNorm32
from ..layers.ranks import sum_over_ranks
from .base import (
    CodebookConfig,
    CodeStats,
    FullPrecision,
    ProductCodebook,
    Quantized,
    Quantizer,
    SplitEncode,
    code_counts,
    nearest_entries,
    straight_through,
)
from .seeding import draw_entries, gather_frames


@dataclass(frozen=True)
class KmeansConfig(CodebookConfig):
    vq_gamma: float = 0.25  # weight of the commitment term
    ema_decay: float = 0.0  # entries follow the mean of their frames (VQ-VAE, appendix A.1); 0: the gradient
    revive_after: int = 0  # updates without a frame until a code is moved into the worst cell; 0: never
    start: str = "noise"  # entries begin as small noise (stock), or as `frames` of the first batch
    norm: str = "group"  # over a group's channels together (stock), or each `channel` alone: the voice goes

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.vq_gamma < math.inf:
            raise ValueError(f"`vq_gamma` is {self.vq_gamma}; expected 0 or more")
        if self.start not in ("noise", "frames"):
            raise ValueError(f"`start` is {self.start!r}; expected noise or frames")
        if self.norm not in ("group", "channel"):
            raise ValueError(f"`norm` is {self.norm!r}; expected group or channel")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"`ema_decay` is {self.ema_decay}; expected 0 (off) or a decay as 0.99")
        if self.revive_after < 0:
            raise ValueError(f"`revive_after` is {self.revive_after}; expected 0 (never) or some updates")


class KmeansQuantizer(Quantizer):
    """Each group's projected slice of z goes to its nearest entry; the loss pulls both together."""

    Config: ClassVar[type[Any]] = KmeansConfig
    loss_weight: ClassVar[float] = 1.0
    cure_values: ClassVar[Mapping[str, Any]] = {"start": "frames", "ema_decay": 0.99, "revive_after": 20}

    def __init__(self, dim: int, config: KmeansConfig) -> None:
        super().__init__()
        if dim % config.vq_groups:
            raise ValueError(f"dimension of z ({dim}) must be divisible by `vq_groups` ({config.vq_groups})")
        self.codebook = ProductCodebook(dim, config)
        self.out_dim = self.codebook.out_dim
        self.num_groups, self.num_codes = config.vq_groups, config.vq_vars
        self.gamma = config.vq_gamma
        self.projection = nn.Conv1d(dim, self.out_dim, 1, groups=config.vq_groups, bias=False)
        self.norm = GroupNorm32(self.out_dim if config.norm == "channel" else config.vq_groups, self.out_dim)
        nn.init.normal_(self.codebook.entries, std=0.01)
        needs_upkeep = config.ema_decay > 0 or config.revive_after > 0 or config.start == "frames"
        self.upkeep = CodebookUpkeep(self.codebook, config) if needs_upkeep else None

    def end_update(self, num_updates: int) -> None:
        if self.upkeep is not None:
            self.upkeep.end_update(num_updates, self.codebook)

    def discard_update(self) -> None:
        if self.upkeep is not None:
            self.upkeep.discard()

    @torch.no_grad()
    def seed_codes(self, clips: Sequence[Tensor], seed: int, known: bool) -> None:
        """Entries are frames, each as likely as any other."""
        projected = torch.cat([self.project(z).flatten(0, 1) for z in clips])  # [N, G·D]
        frames = projected.view(-1, self.num_groups, self.codebook.entry_dim)  # [N, G, D]
        at = _drawn(frames, self.codebook, seed)
        if self.upkeep is None:
            self.codebook.entries.copy_(at)
        else:
            self.upkeep.begin_at(at, self.codebook)

    def project(self, z: Tensor) -> Tensor:  # [B, T, C] → [B, T, G·D]
        projected: Tensor = self.norm(self.projection(z.transpose(1, 2)))  # [B, G·D, T]
        return projected.transpose(1, 2)

    def nearest(self, projected: Tensor) -> Tensor:  # [B, T, G·D] → [B, T, G]
        z = projected.reshape(-1, self.num_groups, self.codebook.entry_dim)  # [B·T, G, D]
        return nearest_entries(z, self.codebook.table).reshape(*projected.shape[:2], self.num_groups)

    def encode(self, z: Tensor) -> Tensor:
        return self.nearest(self.project(z))

    def split_encode(self) -> SplitEncode:
        """The same as products of matrices, each group's for itself; the norm between them runs over time."""
        weight = self.projection.weight.detach().squeeze(2)  # [O, C / G]
        groups = [part.T for part in weight.chunk(self.num_groups)]

        def project(z: Tensor) -> Tensor:  # [n, C] → [n, O]
            parts = z.chunk(len(groups), 1)
            return torch.cat([part @ weight for part, weight in zip(parts, groups, strict=True)], 1)

        return SplitEncode(lambda projected: self.nearest(projected[None])[0], project, self.norm)

    def decode(self, codes: Tensor) -> Tensor:
        vectors: Tensor = self.codebook(codes)
        return vectors

    def forward(self, z: Tensor) -> Quantized:
        projected = self.project(z)  # [B, T, G·D]
        if self.training and self.upkeep is not None:
            frames = projected.detach().reshape(-1, self.num_groups, self.codebook.entry_dim)  # [B·T, G, D]
            self.upkeep.begin(frames, self.codebook)
        codes = self.nearest(projected)
        chosen = self.codebook.lookup(codes)  # [B, T, G·D]
        wide = projected.dtype if projected.dtype == torch.float64 else torch.float32
        loss = self.gamma * F.mse_loss(projected.to(wide), chosen.detach().to(wide))
        if chosen.requires_grad:
            loss = F.mse_loss(chosen.to(wide), projected.detach().to(wide)) + loss
        if self.training and self.upkeep is not None:
            self.upkeep.add(frames, codes.flatten(0, 1), self.codebook)
        x = straight_through(projected, chosen.detach().type_as(projected))
        return Quantized(x, codes, loss, CodeStats(code_counts(codes, self.num_codes)))


_STEP = 0.5  # how far from its cell's mean a moved code starts, in the cell's standard deviations


class CodebookUpkeep(FullPrecision):
    """Moving averages (VQ-VAE, arXiv 1711.00937, appendix A.1); large cells split (Linde et al., 1980)."""

    ema_counts: Tensor  # [K, V]
    ema_sums: Tensor  # [K, V, D]
    idle: Tensor  # [K, V] updates since the code was last chosen
    begun: Tensor | None  # the entries are frames; None: they are not to be

    def __init__(self, codebook: ProductCodebook, config: KmeansConfig) -> None:
        super().__init__()
        self.ema_decay, self.revive_after = config.ema_decay, config.revive_after
        entries = codebook.entries
        if self.ema_decay:
            entries.requires_grad_(False)
            self.register_buffer("ema_counts", torch.ones(entries.shape[:2]))
            self.register_buffer("ema_sums", entries.detach().clone())
        if self.revive_after:
            self.register_buffer("idle", torch.zeros(entries.shape[:2], dtype=torch.int32))
        self.register_buffer("begun", torch.tensor(False) if config.start == "frames" else None)
        if not self.ema_decay:
            codebook.register_buffer("moved", torch.zeros_like(entries))
        self._pending: Tensor | None = None
        self._begun = False

    @torch.no_grad()
    def begin(self, z: Tensor, codebook: ProductCodebook) -> None:  # [N, G, D]
        """Before its first batch the codebook becomes frames of it, the same on all ranks."""
        if self._begun or self.begun is None:
            return
        self._begun = bool(self.begun)  # waits for the device; once
        if self._begun:
            return
        num_codes = codebook.num_codes
        gathered = [gather_frames(frames, num_codes) for frames in _of_books(z, codebook)]
        if not all(map(len, gathered)):
            return  # no frame is finite: the update will be skipped
        at = torch.stack([draw_entries(frames, num_codes, book) for book, frames in enumerate(gathered)])
        self._put(torch.ones(at.shape[:2], dtype=torch.bool, device=at.device), at, codebook)
        self._begun = True
        self.begun.fill_(True)

    def begin_at(self, at: Tensor, codebook: ProductCodebook) -> None:  # [K, V, D]
        """All codes begin anew at these places, before a training."""
        self._begun = True
        for kept in (self.begun, getattr(self, "idle", None)):
            if kept is not None:
                kept.fill_(kept is self.begun)
        codebook.entries.copy_(at)
        self._put(torch.ones(at.shape[:2], dtype=torch.bool, device=at.device), at, codebook)

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
        moves = dead & (scatter.gather(-1, target) > 0)  # [K, V]
        at = means + _STEP * _signs(num_updates, means) * variances.sqrt()
        at = at.gather(1, target.unsqueeze(-1).expand_as(at))  # [K, V, D]
        self.idle.masked_fill_(moves, 0)
        self._put(moves, at, codebook)

    def _put(self, moves: Tensor, at: Tensor, codebook: ProductCodebook) -> None:  # [K, V], [K, V, D]
        """Codes that move begin anew at their place."""
        which = moves.unsqueeze(-1)
        if self.ema_decay:
            self.ema_counts.masked_fill_(moves, 1.0)
            self.ema_sums.copy_(torch.where(which, at, self.ema_sums))
            codebook.entries.copy_(torch.where(which, at, codebook.entries))
        elif codebook.moved is not None:
            codebook.moved.copy_(torch.where(which, at - codebook.entries, codebook.moved))


def _of_books(z: Tensor, codebook: ProductCodebook) -> Tensor:  # [N, G, D] → [K, ·, D]
    """The frames that each codebook is for."""
    return z.flatten(0, 1)[None] if len(codebook.entries) == 1 else z.transpose(0, 1)


def _drawn(z: Tensor, codebook: ProductCodebook, seed: int) -> Tensor:  # [N, G, D] → [K, V, D]
    """Frames for the entries of each codebook."""
    tables = [
        draw_entries(frames, codebook.num_codes, seed + book)
        for book, frames in enumerate(_of_books(z, codebook))
    ]
    return torch.stack(tables)


def _signs(num_updates: int, like: Tensor) -> Tensor:  # [D]
    """The same on all ranks, and in a run that was resumed."""
    drawn = torch.Generator().manual_seed(num_updates)
    return (torch.randint(2, (like.size(-1),), generator=drawn) * 2 - 1).to(like)
