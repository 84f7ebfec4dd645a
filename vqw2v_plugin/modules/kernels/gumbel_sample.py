"""z ──quantizer──▶ tokens by Gumbel-softmax on a GPU: a sample with all that is told of it, in few calls.

Shapes: N frames, G groups, V codes, D entry size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import launching

_PARTS = 256


class Sample(NamedTuple):
    """What training makes of logits."""

    x: Tensor  # [N, G, D], the entries of sampled codes
    probs: Tensor  # [G, V], summed over frames
    codes: Tensor  # [N, G], the best ones
    counts: Tensor  # [G, V] of these


def sample(logits: Tensor, entries: Tensor, temperature: float) -> Sample:  # [N, G, V], [G or 1, V, D]
    """Gradients are those of the soft sample, and of the probabilities."""
    drawn = torch.empty(logits.shape, dtype=torch.float32, device=logits.device).exponential_()
    return Sample(*_Sample.apply(logits.contiguous(), entries, drawn, temperature))  # type: ignore[no-untyped-call]


class _Sample(torch.autograd.Function):
    """Keeps logits and noise: both softmaxes are made again for the gradient."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, entries: Tensor, drawn: Tensor, temperature: float
    ) -> tuple[Tensor, ...]:
        (frames, groups, size), (books, _, dim) = logits.shape, entries.shape
        codes = torch.empty(frames, groups, dtype=torch.long, device=logits.device)
        rows, out = torch.empty_like(codes), entries.new_empty(frames, groups, dim)
        sums = drawn.new_empty(2, _PARTS, groups, size)
        sizes = (frames, groups, size, dim, -(-frames // _PARTS), 1 / temperature, books)
        block = {"V2": launching.power_of_two(size), "D2": launching.power_of_two(dim)}
        given = (logits, drawn, entries, codes, rows, out, sums[0], sums[1])
        launching.launch("gumbel.sample", (_PARTS, groups), *given, *sizes, **block)
        probs, counts = sums.sum(1).unbind()
        ctx.save_for_backward(logits, entries, drawn, rows)
        ctx.temperature = temperature
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(codes, counts)
        return out, probs, codes, counts

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        logits, entries, drawn, rows = ctx.saved_tensors
        (frames, groups, size), to_x, to_probs = logits.shape, grads[0], grads[1]
        grad = entries.new_zeros(*rows.shape, entries.size(2)) if to_x is None else to_x.type_as(entries)
        to_probs = logits.new_zeros(groups, size) if to_probs is None else to_probs
        to_soft = torch.matmul(grad.transpose(0, 1), entries.transpose(1, 2)).contiguous()  # [G, N, V]
        to_logits = torch.empty_like(logits)
        sizes = (frames, groups, size, -(-frames // _PARTS), 1 / ctx.temperature)
        given = (logits, drawn, to_soft, to_probs.contiguous(), to_logits)
        launching.launch(
            "gumbel.sample_backward", (_PARTS, groups), *given, *sizes, V2=launching.power_of_two(size)
        )
        to_entries = torch.zeros_like(entries).flatten(0, 1)
        to_entries.index_add_(0, rows.flatten(), grad.flatten(0, 1))
        return to_logits, to_entries.view_as(entries), None, None
