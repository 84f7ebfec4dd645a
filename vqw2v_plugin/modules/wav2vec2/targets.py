"""z ──quantizer──▶ tokens of a batch of utterances of any lengths, for any quantizer.

Shapes: N frames of a batch's utterances, one after the other, K masked ones of these, C channels, G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..kernels.attention import Rows
from ..quantizers.base import CodeStats, Quantized, Quantizer


def quantize(
    quantizer: Quantizer,
    z: Tensor,  # [N, C]
    frames: Sequence[int],
    masked: Rows | None = None,
    change: Callable[[Tensor], Tensor] = lambda z: z,
) -> Quantized:
    """x [1, K, C] and codes [1, K, G] of the masked frames, or of all; `change` comes before the quantizer.

    One that looks at each frame alone gets no other than these. For all others, as k-means with its norm over
    time, each utterance goes through whole and by itself: then its codes depend on nothing beside it, and are
    those that it has where nothing is masked.
    """
    if quantizer.by_frame or not quantizer.num_groups:
        return quantizer(change(z if masked is None else z[masked.index])[None])  # type: ignore[no-any-return]
    z = change(z)
    if min(frames) == max(frames):
        whole = quantizer(z.view(len(frames), -1, z.size(-1)))
        x, codes, loss, stats = whole.x.flatten(0, 1), whole.codes.flatten(0, 1), whole.loss, whole.stats
    else:
        parts = [quantizer(part[None]) for part in torch.split(z, list(frames))]
        x, codes = (torch.cat([getattr(part, name)[0] for part in parts]) for name in ("x", "codes"))
        shares = [size / len(z) for size in frames]
        loss = torch.stack([part.loss * share for part, share in zip(parts, shares, strict=True)]).sum()
        stats = _together([part.stats for part in parts], shares)
    if masked is not None:
        x, codes = x[masked.index], codes[masked.index]
    return Quantized(x[None], codes[None], loss, stats)


def _together(parts: Sequence[CodeStats], shares: Sequence[float]) -> CodeStats:
    """Of utterances: counts add up; a perplexity of the soft assignment is their mean."""
    counts = torch.stack([part.counts for part in parts]).sum(0)
    found = [part.prob_perplexity for part in parts if part.prob_perplexity is not None]
    soft = None
    if len(found) == len(parts):
        soft = torch.stack([each * share for each, share in zip(found, shares, strict=True)]).sum(0)
    return CodeStats(counts, soft, parts[0].temperature)
