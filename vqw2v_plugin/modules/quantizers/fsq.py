"""z ──quantizer──▶ tokens by rounding a few bounded numbers (finite scalar quantization, arXiv 2309.15505).

There is no codebook to collapse: a code is the grid point that its group's numbers round to.
Shapes: B batch, T frames, C channels, G groups, V codes a group, L numbers a group, D entry size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .base import (
    CodebookConfig,
    CodeStats,
    Quantized,
    Quantizer,
    check_codes,
    check_divides,
    code_counts,
    straight_through,
)
from .seeding import scale_outputs

_FEWEST, _MOST = 3, 16  # levels of a number; more than 16 must be asked for
_BEST = 40**0.5


@dataclass(frozen=True)
class FsqConfig(CodebookConfig):
    levels: list[int] = field(default_factory=list)  # of each number; their product is `vq_vars`; []: chosen
    start_spread: float = (
        0.0  # standard deviation that the numbers begin with; 0: whatever z and torch make it
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.start_spread < math.inf:
            raise ValueError(
                f"`start_spread` is {self.start_spread}; expected 0 or a standard deviation such as 1"
            )
        if not self.levels:
            return
        if not all(type(n) is int and n >= _FEWEST for n in self.levels):
            raise ValueError(f"`levels` is {self.levels}; expected whole numbers from {_FEWEST} up")
        if math.prod(self.levels) != self.vq_vars:
            raise ValueError(
                f"`levels` {self.levels} make {math.prod(self.levels)} codes, `vq_vars` is "
                f"{self.vq_vars}; expected the same"
            )


class FsqQuantizer(Quantizer):
    """z is projected to a few numbers a group, these are bounded, rounded, and projected back."""

    Config: ClassVar[type[Any]] = FsqConfig
    loss_weight: ClassVar[float] = 0.0  # it has no loss of its own
    by_frame: ClassVar[bool] = True
    cure_values: ClassVar[Mapping[str, Any]] = {"start_spread": 1.0}

    levels: Tensor
    places: Tensor

    def __init__(self, dim: int, config: FsqConfig) -> None:
        super().__init__()
        levels = config.levels or choose_levels(config.vq_vars)
        self.out_dim = config.vq_dim or dim
        check_divides(self.out_dim, config)
        self.num_groups, self.num_codes = config.vq_groups, config.vq_vars
        self.register_buffer("levels", torch.tensor(levels), persistent=False)  # [L]
        places = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("places", torch.tensor(places), persistent=False)  # [L]
        books = 1 if config.combine_groups else config.vq_groups
        self.squeeze = nn.Linear(dim, config.vq_groups * len(levels))
        if config.start_spread:
            scale_outputs(self.squeeze, self.squeeze, dim, config.start_spread)
        self.expand = nn.Parameter(torch.empty(books, len(levels), self.out_dim // config.vq_groups))
        nn.init.uniform_(self.expand, -1, 1)

    def encode(self, z: Tensor) -> Tensor:  # [B, T, C] → [B, T, G]
        return self._codes(self._bounded(z).round())

    def decode(self, codes: Tensor) -> Tensor:  # [B, T, G] → [B, T, C]
        check_codes(codes, self.num_codes)
        digits = codes.unsqueeze(-1) // self.places % self.levels  # [B, T, G, L]
        return self._expanded(digits - self.levels // 2)

    def forward(self, z: Tensor) -> Quantized:
        bounded = self._bounded(z)
        points = straight_through(bounded, bounded.detach().round())  # [B, T, G, L]
        codes = self._codes(points.detach())
        counts = code_counts(codes, self.num_codes)
        return Quantized(self._expanded(points).type_as(z), codes, z.new_zeros(()), CodeStats(counts))

    def _bounded(self, z: Tensor) -> Tensor:  # [B, T, C] → [B, T, G, L]
        """Numbers that round to −⌊n/2⌋ … ⌈n/2⌉ − 1 for n levels (the paper's §3.1 and appendix A)."""
        numbers = self.squeeze(z).unflatten(-1, (self.num_groups, -1))
        numbers = numbers if numbers.dtype == torch.float64 else numbers.float()
        half = (self.levels - 1) * (1 - 1e-3) / 2
        shift = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        bounded: Tensor = torch.tanh(numbers + torch.atanh(shift / half)) * half - shift
        return bounded

    def _codes(self, points: Tensor) -> Tensor:  # [B, T, G, L] → [B, T, G]
        return ((points.long() + self.levels // 2) * self.places).sum(-1)

    def _expanded(self, points: Tensor) -> Tensor:  # [B, T, G, L] → [B, T, G·D]
        wide = torch.promote_types(self.expand.dtype, torch.float32)  # whole numbers would become fp32
        scaled = points.to(wide) / (self.levels // 2)
        scaled = scaled.to(self.expand.dtype).transpose(1, 2)  # [B, G, T, L]
        vectors = torch.matmul(scaled, self.expand)  # [B, G, T, D]
        return vectors.transpose(1, 2).flatten(-2)


def choose_levels(num_codes: int) -> list[int]:
    """Factors of `num_codes`, as near as can be to the 5 to 8 that the paper found best: 320 is 8 · 8 · 5."""
    found = [levels for levels in _factors(num_codes, _MOST) if levels]
    if not found:
        raise ValueError(
            f"`vq_vars` ({num_codes}) is no product of numbers from {_FEWEST} to {_MOST}; expected one such "
            "as 320 = 8·8·5, or `levels`"
        )
    return min(found, key=lambda levels: sum(abs(math.log(n / _BEST)) for n in levels))


def _factors(number: int, most: int) -> list[list[int]]:
    if number == 1:
        return [[]]
    return [
        [factor, *rest]
        for factor in range(min(most, number), _FEWEST - 1, -1)
        if number % factor == 0
        for rest in _factors(number // factor, factor)
    ]
