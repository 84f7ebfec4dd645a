"""wav → z → c in training on a GPU: weights of many layers copied to another layout by one kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import launching
from .kept import kept


def lay_out(weights: Sequence[Tensor], centrings: Sequence[Any] | None = None) -> list[Tensor]:
    """Contiguous copies of [a, b, c] each; with a centring, which hears of it, less the mean over b."""
    if not weights:
        return []
    sizes = [w.numel() for w in weights]
    parts = torch.split(weights[0].new_empty(sum(sizes)), sizes)
    copies = [part.view(w.shape) for part, w in zip(parts, weights, strict=True)]
    centrings = centrings or [None] * len(weights)
    rows = []
    for weight, copy, centring in zip(weights, copies, centrings, strict=True):
        # the kernel's blocks have the longer of b and c first, unless they are summed over
        turned = centring is None and weight.size(2) > weight.size(1)
        a, b = (x.transpose(1, 2) if turned else x for x in (weight, copy))
        rows.append((_address(a), _address(b), *a.shape, *a.stride(), *b.stride(), int(centring is not None)))
    launching.launch(
        "norm.lay_out", (len(rows), max(row[2] for row in rows)), _table(tuple(rows), weights[0].device),
        weights[0], CENTRE=any(row[11] for row in rows),
        C2=launching.power_of_two(max(row[3] for row in rows)),
        K2=launching.power_of_two(max(row[4] for row in rows)),
    )  # fmt: skip
    for centring in centrings:
        if centring is not None:
            centring.done = True
    return copies


def _address(x: Tensor) -> int:
    return 0 if x.device.type == "meta" else x.data_ptr()


@kept(64)  # addresses are mostly those of the step before: nothing is copied to the device then
def _table(rows: tuple[tuple[int, ...], ...], device: torch.device) -> Tensor:
    table = torch.tensor(rows, dtype=torch.long)
    return table if device.type == "cpu" else table.to(device)
