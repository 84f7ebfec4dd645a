"""z without a quantizer: wav2vec 1.0, whose context network sees z as it is (arXiv 1904.05862)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from .base import CodeStats, Quantized, Quantizer


@dataclass(frozen=True)
class NoConfig:
    """It has no settings."""


class NoQuantizer(Quantizer):
    """Gives z on, with 0 groups of codes; asking for codes is an error."""

    Config: ClassVar[type[Any]] = NoConfig
    loss_weight: ClassVar[float] = 0.0  # it has no loss of its own

    def __init__(self, dim: int, config: NoConfig) -> None:
        super().__init__()
        self.out_dim, self.num_groups, self.num_codes = dim, 0, 0

    def forward(self, z: Tensor) -> Quantized:
        codes = z.new_zeros((*z.shape[:2], 0), dtype=torch.int64)  # [B, T, 0]
        return Quantized(z, codes, z.new_zeros(()), CodeStats(z.new_zeros(0, 0)))

    def encode(self, z: Tensor) -> NoReturn:
        raise ValueError(
            "this model has no quantizer (wav2vec 1.0), so it has no codes; use its z or c features"
        )

    def decode(self, codes: Tensor) -> NoReturn:
        self.encode(codes)
