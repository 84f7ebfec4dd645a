"""z ──quantizer──▶ tokens by nearest neighbour, straight-through (vq-wav2vec §3.2; VQ-VAE, arXiv 1711.00937).

Shapes: B batch, T frames, C channels, G groups, V codes a group, D entry size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .norm import GroupNorm32
from .quantizer import (
    CodebookConfig,
    CodeStats,
    ProductCodebook,
    Quantized,
    Quantizer,
    code_perplexity,
    straight_through,
)


@dataclass(frozen=True)
class KmeansConfig(CodebookConfig):
    vq_gamma: float = 0.25  # weight of the commitment term

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vq_gamma < 0:
            raise ValueError(f"`vq_gamma` is {self.vq_gamma}; expected 0 or more")


class KmeansQuantizer(Quantizer):
    """Each group's projected slice of z goes to its nearest entry; the loss pulls both together."""

    Config: ClassVar[type[Any]] = KmeansConfig
    loss_weight: ClassVar[float] = 1.0

    def __init__(self, dim: int, config: KmeansConfig) -> None:
        super().__init__()
        if dim % config.vq_groups:
            raise ValueError(f"dimension of z ({dim}) must be divisible by `vq_groups` ({config.vq_groups})")
        self.codebook = ProductCodebook(dim, config)
        self.out_dim = self.codebook.out_dim
        self.num_groups, self.num_codes = config.vq_groups, config.vq_vars
        self.gamma = config.vq_gamma
        self.projection = nn.Conv1d(dim, self.out_dim, 1, groups=config.vq_groups, bias=False)
        self.norm = GroupNorm32(config.vq_groups, self.out_dim)
        nn.init.normal_(self.codebook.entries, std=0.01)

    def project(self, z: Tensor) -> Tensor:  # [B, T, C] → [B, T, G·D]
        projected: Tensor = self.norm(self.projection(z.transpose(1, 2)))  # [B, G·D, T]
        return projected.transpose(1, 2)

    def nearest(self, projected: Tensor) -> Tensor:  # [B, T, G·D] → [B, T, G]
        """argmin ‖z − e‖² as argmin ‖e‖² − 2 z·e: one matrix product a group, nothing of size V × D."""
        wide = projected.dtype if projected.dtype == torch.float64 else torch.float32
        with torch.no_grad(), torch.autocast(projected.device.type, enabled=False):
            entries = self.codebook.entries.to(wide)  # [G or 1, V, D]
            z = projected.to(wide).reshape(-1, self.num_groups, entries.size(-1))  # [B·T, G, D]
            norms = entries.square().sum(-1)  # [G or 1, V]
            products = torch.matmul(z.transpose(0, 1), entries.transpose(1, 2))  # [G, B·T, V]
            codes = (norms.unsqueeze(1) - 2 * products).argmin(-1)  # [G, B·T]
        return codes.transpose(0, 1).reshape(*projected.shape[:2], self.num_groups)

    def encode(self, z: Tensor) -> Tensor:
        return self.nearest(self.project(z))

    def decode(self, codes: Tensor) -> Tensor:
        vectors: Tensor = self.codebook(codes)
        return vectors

    def forward(self, z: Tensor) -> Quantized:
        projected = self.project(z)  # [B, T, G·D]
        codes = self.nearest(projected)
        chosen = self.codebook.lookup(codes)  # [B, T, G·D]
        wide = projected.dtype if projected.dtype == torch.float64 else torch.float32
        to_codes = F.mse_loss(chosen.to(wide), projected.detach().to(wide))
        to_z = F.mse_loss(projected.to(wide), chosen.detach().to(wide))
        x = straight_through(projected, chosen.detach().type_as(projected))
        stats = CodeStats(code_perplexity(codes, self.num_codes))
        return Quantized(x, codes, to_codes + self.gamma * to_z, stats)
