"""tokens ──BERT──▶ states, one layer of it: attention and feed-forward block over packed utterances.

Shapes: N frames or tokens of a batch's utterances, one after the other; K rows that are asked for, D model,
H heads of size d.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.attention import Rows, packed_attention
from ..kernels.cpu_training import takes_over
from ..kernels.dropout import dropout
from ..kernels.feed_forward import ACTIVATIONS, feed_forward


class LayerSettings(Protocol):
    """What the settings of every arrow with such layers say of them, under stock's names."""

    @property
    def encoder_embed_dim(self) -> int: ...
    @property
    def encoder_attention_heads(self) -> int: ...
    @property
    def encoder_ffn_embed_dim(self) -> int: ...
    @property
    def dropout(self) -> float: ...
    @property
    def attention_dropout(self) -> float: ...
    @property
    def activation_dropout(self) -> float: ...
    @property
    def activation_fn(self) -> str: ...


class TransformerLayer(nn.Module):
    """Attention and feed-forward block, each with a residual; norms behind them (the default) or before."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ffn_dim: int,
        *,
        dropout: float = 0.0,  # of what either block adds
        attention_dropout: float = 0.0,  # of attention weights
        activation_dropout: float = 0.0,  # inside the feed-forward block
        activation: str = "gelu",
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        self.num_heads, self.norm_first = num_heads, norm_first
        self.activation = getattr(F, activation)
        self.dropout, self.attention_dropout = dropout, attention_dropout
        self.activation_dropout = activation_dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.attention_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)

    @classmethod
    def of(cls, settings: LayerSettings, norm_first: bool) -> TransformerLayer:
        return cls(
            settings.encoder_embed_dim,
            settings.encoder_attention_heads,
            settings.encoder_ffn_embed_dim,
            dropout=settings.dropout,
            attention_dropout=settings.attention_dropout,
            activation_dropout=settings.activation_dropout,
            activation=settings.activation_fn,
            norm_first=norm_first,
        )

    def forward(
        self, x: Tensor, lengths: Sequence[int], angles: Tensor | None = None, rows: Rows | None = None
    ) -> Tensor:
        """[N, D] → [N, D]; with `rows` only their states [K, D]: all that a last layer is asked for."""
        qkv = self.qkv(self.attention_norm(x) if self.norm_first else x)
        if angles is not None:
            qkv = rotate(qkv, angles, self.num_heads)
        p = self.attention_dropout if self.training else 0.0
        mixed = self.out(packed_attention(qkv, lengths, self.num_heads, p, rows))
        x = (x if rows is None else x[rows.index]) + dropout(mixed, self.dropout, self.training)
        if self.norm_first:
            return x + self._feed_forward(self.ffn_norm(x))
        x = self.attention_norm(x)
        return self.ffn_norm(x + self._feed_forward(x))  # type: ignore[no-any-return]

    def _feed_forward(self, x: Tensor) -> Tensor:
        if self.activation in ACTIVATIONS and takes_over(self, x):
            p = self.activation_dropout
            made = feed_forward(x, self.fc1, self.fc2, self.activation is F.relu, p)
            return dropout(made, self.dropout, self.training)
        inner = dropout(self.activation(self.fc1(x)), self.activation_dropout, self.training)
        return dropout(self.fc2(inner), self.dropout, self.training)


def rotary_angles(positions: Tensor, head_dim: int) -> Tensor:
    """Position × frequency, 10000^(-2i/d) radians a token (arXiv 2104.09864 §3.2): [N] → [N, d / 2]."""
    exponents = torch.arange(0, head_dim, 2, device=positions.device) / head_dim
    return positions[:, None] * 10_000.0**-exponents


def rotate(qkv: Tensor, angles: Tensor, num_heads: int) -> Tensor:
    """Turns each pair of components of queries and keys by its angle: [N, 3·D] → [N, 3·D]."""
    cos, sin = angles.cos()[:, None, None].to(qkv), angles.sin()[:, None, None].to(qkv)
    return _Rotation.apply(qkv, cos, sin, num_heads)  # type: ignore[no-any-return, no-untyped-call]


class _Rotation(torch.autograd.Function):
    """One copy, turned in place, forward and backward: autograd through the formula takes twice as long."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, num_heads: int) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.num_heads = num_heads
        return _turned(qkv, cos, sin, num_heads)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _turned(grads[0], cos, -sin, ctx.num_heads), None, None, None


def _turned(qkv: Tensor, cos: Tensor, sin: Tensor, num_heads: int) -> Tensor:
    turned = qkv.clone(memory_format=torch.contiguous_format)
    (a, b), (to_a, to_b) = (x.view(len(x), 3, num_heads, -1)[:, :2].chunk(2, -1) for x in (qkv, turned))
    to_a.mul_(cos).addcmul_(b, sin, value=-1)
    to_b.mul_(cos).addcmul_(a, sin)
    return turned
