"""tokens ──BERT──▶ states: self-attention over utterances that lie one after the other, without padding.

Shapes: N packed tokens of all utterances, R rows that ask (all N, or some of each), H heads of size d.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_efficient_attention, can_use_flash_attention

from .dropout import keep_mask
from .kept import kept

# Attention weights at a time: 16 MB in fp32. A quarter of it fits two cores' caches and is a tenth faster;
# but then threads meet four times as often, and on a busy machine each of these meetings waits for the last.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Rows:
    """Packed positions [R] that ask, ascending, and how many of them each utterance has."""

    index: Tensor
    counts: Sequence[int]


def packed_attention(
    qkv: Tensor, lengths: Sequence[int], num_heads: int, dropout: float = 0.0, rows: Rows | None = None
) -> Tensor:
    """Each utterance attends to itself alone: [N, 3·D] → [R, D]."""
    q, k, v = qkv.view(len(qkv), 3, num_heads, -1).unbind(1)  # each [N, H, d]
    if qkv.device.type != "cpu":
        return _on_gpu(q, k, v, lengths, dropout, rows).flatten(1)
    counts = lengths
    if rows is not None:
        q, counts = q[rows.index], rows.counts
    q, k, v = (x.transpose(0, 1).contiguous() for x in (q, k, v))  # [H, R or N, d]
    if dropout:
        out: Tensor = _DroppedAttention.apply(q, k, v, counts, lengths, dropout)  # type: ignore[no-untyped-call]
    else:
        sizes = (list(counts), list(lengths), list(lengths))
        pieces = zip(
            *(torch.split(x, size, 1) for x, size in zip((q, k, v), sizes, strict=True)), strict=True
        )
        out = torch.cat(
            [F.scaled_dot_product_attention(a[None], b[None], c[None])[0] for a, b, c in pieces], 1
        )
    return out.transpose(0, 1).flatten(1)


def _on_gpu(
    q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], dropout: float, rows: Rows | None
) -> Tensor:
    """The variable-length kernels of a GPU, all utterances in one call: [N, H, d] each → [R, H, d].

    They read queries, keys and values where these lie; what torch calls them through copies each of them.
    """
    kernel, counts = kernel_for(q, k, v, dropout), lengths
    if kernel == "neither":
        out: Tensor = _jagged(q, k, v, lengths, dropout)
        return out if rows is None else out[rows.index]
    some = rows is not None and all(rows.counts)  # a kernel is not given an utterance that asks nothing
    if rows is not None and some:
        q, counts = q[rows.index], rows.counts
    ends = [_ends(tuple(sizes), q.device) for sizes in (counts, lengths)]
    where = (*ends, max(counts), max(lengths))  # given, so that nothing is read back from the device
    if kernel == "flash":
        out = torch.ops.aten._flash_attention_forward(q, k, v, *where, dropout, False, False)[0]
    else:
        asked = (q[None], k[None], v[None], None, *where, dropout, 0, torch.is_grad_enabled())
        out = torch.ops.aten._efficient_attention_forward(*asked)[0][0]
    return out if rows is None or some else out[rows.index]


def kernel_for(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> str:
    """Which of torch's kernels is for them: flash (16 bit), efficient, or neither."""
    q, k, v = (x[None].transpose(1, 2) for x in (q, k, v))  # [1, H, N, d]
    params = SDPAParams(q, k, v, None, dropout, False, False)
    if can_use_flash_attention(params) and q.size(-1) % 8 == 0:
        return "flash"
    return "efficient" if can_use_efficient_attention(params) else "neither"


def _jagged(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], dropout: float) -> Tensor:
    """The same by torch's own choice: [N, H, d] each."""
    ends = _ends(tuple(lengths), q.device)
    low, high = min(lengths), max(lengths)  # given, so that they are not read back from the device

    def nest(x: Tensor) -> Tensor:
        jagged = torch.nested.nested_tensor_from_jagged(x.contiguous(), ends, min_seqlen=low, max_seqlen=high)
        return jagged.transpose(1, 2)

    out = F.scaled_dot_product_attention(nest(q), nest(k), nest(v), dropout_p=dropout)
    return out.transpose(1, 2).values()


@kept(4)
def _ends(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """Where utterances end: copied to the device once for all layers of a batch."""
    with torch.inference_mode(False):  # it may be kept for a backward pass
        ends = torch.tensor([0, *lengths], device="cpu").cumsum(0, dtype=torch.int32)
        return ends.to(device, non_blocking=True)


class _DroppedAttention(torch.autograd.Function):
    """Attention with dropout on a CPU, which torch has no fused kernel for: chunks that fit the cache.

    Weights and dropout are made again for the gradient, so memory grows with N and not with its square.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, counts: Sequence[int], lengths: Sequence[int], p: float
    ) -> Tensor:
        ctx.seed = int(torch.randint(1 << 62, ()))  # of the default generator, so a training's seed rules
        ctx.counts, ctx.lengths, ctx.p = counts, lengths, p
        generator = torch.Generator().manual_seed(ctx.seed)
        out = torch.empty_like(q)
        q = q * q.size(-1) ** -0.5
        for rows, cols in _chunks(q.size(0), counts, lengths):
            weights = _weights(q[rows], k[cols])
            weights.mul_(keep_mask(weights.shape, p, q.dtype, generator))
            out[rows] = torch.bmm(weights, v[cols])
        out.mul_(1 / (1 - p))
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out = ctx.saved_tensors
        generator = torch.Generator().manual_seed(ctx.seed)
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        # a softmax's gradient takes off each row's mean of the weights' gradients; dropout cancels out of it
        mean = (grad * out).sum(-1, keepdim=True)  # [H, R, 1]
        grad = grad * (1 / (1 - ctx.p))
        for rows, cols in _chunks(q.size(0), ctx.counts, ctx.lengths):
            weights = _weights(q[rows], k[cols])
            keep = keep_mask(weights.shape, ctx.p, q.dtype, generator)
            grad_weights = torch.bmm(grad[rows], v[cols].transpose(1, 2)).mul_(keep)
            grad_scores = grad_weights.sub_(mean[rows]).mul_(weights)
            grad_v[cols] += torch.bmm(weights.mul_(keep).transpose(1, 2), grad[rows])
            grad_q[rows] = torch.bmm(grad_scores, k[cols])
            grad_k[cols] += torch.bmm(grad_scores.transpose(1, 2), q[rows])
        return grad_q.mul_(q.size(-1) ** -0.5), grad_k, grad_v, None, None, None


def _weights(q: Tensor, k: Tensor) -> Tensor:
    return torch.softmax(torch.bmm(q, k.transpose(1, 2)), -1)  # [h, r, T]


def _chunks(
    num_heads: int, counts: Sequence[int], lengths: Sequence[int]
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """(heads, rows that ask) and (heads, the whole utterance) of one chunk after the other."""
    row, col = 0, 0
    for count, length in zip(counts, lengths, strict=True):
        if count:
            height = max(1, min(count, _CHUNK // length))
            heads = max(1, min(num_heads, _CHUNK // (count * length)))
            for head in range(0, num_heads, heads):
                these = slice(head, min(head + heads, num_heads))
                for top in range(row, row + count, height):
                    asking = slice(top, min(top + height, row + count))
                    yield (these, asking), (these, slice(col, col + length))
        row, col = row + count, col + length
