"""What two arrows share: of a batch's sums, what each utterance's part of them is; to be told, not learnt.

Shapes: B utterances, n predictions of a batch, G groups, V codes a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Apart:
    """Of each utterance: its loss, how many predictions were right, how many it has; and its codes."""

    sums: Tensor  # [B, 3]
    counts: Tensor | None = None  # [B, G, V]


def owners(counts: Sequence[int], device: torch.device) -> Tensor:  # [n]
    """Which utterance each of the packed predictions is of."""
    rows = torch.arange(len(counts)).repeat_interleave(torch.tensor(list(counts)), output_size=sum(counts))
    return rows.to(device, non_blocking=True)


@torch.no_grad()
def sums_of(losses: Tensor, right: Tensor, made: Tensor, rows: Tensor, num_rows: int) -> Tensor:  # [B, 3]
    """Of predictions [n], each of an utterance `rows` [n]; `made`: those that count."""
    each = torch.stack([losses.detach().float() * made, (right & made.bool()).float(), made.float()], -1)
    return torch.zeros(num_rows, 3, device=losses.device).index_add_(0, rows, each)


@torch.no_grad()
def counts_of(codes: Tensor, rows: Tensor, num_rows: int, num_codes: int) -> Tensor | None:  # [B, G, V]
    """How often each utterance has each code of [n, G]; None where there are none."""
    groups = codes.size(-1)
    if not groups or not num_codes:
        return None
    place = (rows[:, None] * groups + torch.arange(groups, device=codes.device)) * num_codes + codes
    found = torch.zeros(num_rows * groups * num_codes, device=codes.device)
    found.scatter_add_(0, place.flatten(), torch.ones_like(place, dtype=found.dtype).flatten())
    return found.view(num_rows, groups, num_codes)
