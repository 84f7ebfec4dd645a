"""features ──clusters──▶ tokens: k-means centres of any layer's frames, learnt without a gradient.

Shapes: T frames, F features, D = F · (1 + deltas), G groups, V codes a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers.slopes import standardized, with_slopes
from .base import nearest_entries


@dataclass(frozen=True)
class ClustersConfig:
    """How frames are prepared, and how many centres they go to."""

    codes: int = 100  # centres in each group
    groups: int = 1  # equal parts of the features, each with centres of its own
    deltas: int = 0  # how often the slope over five frames is put beside the features
    standardize: Literal["corpus", "utterance", "none"] = "corpus"  # whose mean and scale are taken away

    def __post_init__(self) -> None:
        for name, least, most in (("codes", 1, 1 << 20), ("groups", 1, 1 << 10), ("deltas", 0, 2)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"`{name}` is {getattr(self, name)}; expected {least} to {most:,}")


class Clusters(nn.Module):
    """A clip's frames → the nearest centres."""

    mean: Tensor  # [D]
    scale: Tensor  # [D]

    def __init__(self, dim: int, config: ClustersConfig) -> None:
        super().__init__()
        wide = dim * (1 + config.deltas)
        if wide % config.groups:
            made_of = f" ({dim} and their deltas)" if config.deltas else ""
            raise ValueError(f"{wide} features{made_of} must be divisible by `groups` ({config.groups})")
        self.config, self.dim, self.out_dim = config, dim, wide
        self.num_groups, self.num_codes = config.groups, config.codes
        self.entries = nn.Parameter(
            torch.zeros(config.groups, config.codes, wide // config.groups), requires_grad=False
        )
        self.register_buffer("mean", torch.zeros(wide))
        self.register_buffer("scale", torch.ones(wide))

    def prepare(self, x: Tensor) -> Tensor:  # [T, F] → [T, D]
        """A whole clip's frames as they are clustered, but for the corpus's own mean and scale."""
        x = with_slopes(x.float(), self.config.deltas)
        return standardized(x) if self.config.standardize == "utterance" else x

    def scaled(self, x: Tensor) -> Tensor:  # [N, D] → [N, D]
        """What `prepare` gave, with the corpus's mean and scale taken away, if they are to be."""
        return (x - self.mean) / self.scale

    def nearest(self, x: Tensor) -> Tensor:  # [N, D] → [N, G]
        """Of frames that are scaled; of two as near the first."""
        return nearest_entries(x.reshape(len(x), self.num_groups, self.entries.size(-1)), self.entries)

    def encode(self, x: Tensor) -> Tensor:  # [T, F] → [T, G]
        return self.nearest(self.scaled(self.prepare(x)))

    def decode(self, codes: Tensor) -> Tensor:  # [..., T, G] → [..., T, D]
        """The centres, in the measure of scaled frames."""
        rows = codes + torch.arange(self.num_groups, device=codes.device) * self.num_codes
        return F.embedding(rows, self.entries.flatten(0, 1)).flatten(-2)
