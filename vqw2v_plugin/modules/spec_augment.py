"""states ──acoustic model──▶ letters, in training: time and features hidden (arXiv 1904.08779).

Shapes: B batch, T frames, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class SpecMasks:
    """How many masks an utterance gets, and how wide each may be; none by default."""

    time_masks: int = 0
    time_mask_width: int = 50  # frames, at most
    time_mask_share: float = 0.2  # of an utterance's frames, at most for one mask
    feature_masks: int = 0
    feature_mask_width: int = 16  # features, at most

    def __post_init__(self) -> None:
        for name in ("time_masks", "time_mask_width", "feature_masks", "feature_mask_width"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` is {getattr(self, name)}; expected at least 0")
        if not 0 <= self.time_mask_share <= 1:
            raise ValueError(f"`time_mask_share` is {self.time_mask_share}; expected a share in [0, 1]")


class SpecAugment(nn.Module):
    """Masks in training mode; they are 0, the mean of normalised features.

    Draws come from the `generator`, or torch's own on the CPU, which fairseq seeds at every update.
    """

    def __init__(self, masks: SpecMasks, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.masks, self.generator = masks, generator

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # [B, T, D]
        masks = self.masks
        if not self.training or not (masks.time_masks or masks.feature_masks):
            return x
        if masks.time_masks:
            frames = lengths.cpu()
            most = (frames * masks.time_mask_share).long().clamp_max(masks.time_mask_width)
            x = x.masked_fill(self._spans(masks.time_masks, frames, most, x.size(1), x).unsqueeze(2), 0.0)
        if masks.feature_masks:
            size = torch.full((len(x),), x.size(2))
            most = size.clamp_max(masks.feature_mask_width)
            x = x.masked_fill(self._spans(masks.feature_masks, size, most, x.size(2), x).unsqueeze(1), 0.0)
        return x

    def _spans(self, count: int, sizes: Tensor, most: Tensor, width: int, like: Tensor) -> Tensor:
        """[B] → [B, width]: True in `count` spans of 0 … `most` places within the first `sizes`."""
        draws = torch.rand(len(sizes), count, 2, generator=self.generator)  # [B, count, 2]
        spans = (draws[..., 0] * (most + 1).unsqueeze(1)).long()
        starts = (draws[..., 1] * (sizes.unsqueeze(1) - spans + 1)).long()
        starts, ends = (part.to(like.device).unsqueeze(2) for part in (starts, starts + spans))
        places = torch.arange(width, device=like.device)
        return ((places >= starts) & (places < ends)).any(1)
