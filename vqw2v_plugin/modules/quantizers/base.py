"""z ──quantizer──▶ tokens: the one contract that every quantizer keeps, and product codebooks.

Shapes: B batch, T frames, C channels, G groups, V codes a group, D entry size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class CodeStats:
    """How a batch used the codebook; perplexities lie between 1 and V, one a group."""

    counts: Tensor  # [G, V], how often each code was chosen
    prob_perplexity: Tensor | None = None  # [G], of the soft assignment where there is one
    temperature: float | None = None

    @property
    def code_perplexity(self) -> Tensor:  # [G]
        return count_perplexity(self.counts)


@dataclass(frozen=True)
class Quantized:
    """What a quantizer makes of z: vectors, codes, its own loss (a mean, 0-dim) and statistics."""

    x: Tensor  # [B, T, C]
    codes: Tensor  # [B, T, G]
    loss: Tensor
    stats: CodeStats


@dataclass(frozen=True)
class CodebookConfig:
    """What all product codebooks share, under stock's names."""

    vq_vars: int = 320
    vq_groups: int = 2
    vq_dim: int = 0  # size of the quantized vector; 0: as z
    combine_groups: bool = False  # one codebook for all groups

    def __post_init__(self) -> None:
        for name in ("vq_vars", "vq_groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; expected at least 1")
        if self.vq_dim < 0:
            raise ValueError(f"`vq_dim` is {self.vq_dim}; expected 0 (as z) or a positive size")


@dataclass(frozen=True)
class SplitEncode:
    """`encode` in steps that take frames piece by piece: `choose(norm(project(z)))`, or with less of these.

    Only the group norm looks beyond a frame: its statistics are those of the whole clip.
    """

    choose: Callable[[Tensor], Tensor]  # [n, O] → [n, G]
    project: Callable[[Tensor], Tensor] | None = None  # [n, C] → [n, O]
    norm: nn.GroupNorm | None = None  # of what `project` gives

    def __post_init__(self) -> None:
        if self.norm is not None and self.project is None:
            raise ValueError("a `SplitEncode` with `norm` lacks `project`, whose output is normed")


class Quantizer(nn.Module):
    """Built as `cls(dim, config)`; in eval mode `decode(encode(z))` equals `forward(z).x` to the bit."""

    Config: ClassVar[type[Any]] = CodebookConfig
    loss_weight: ClassVar[float] = 1.0  # weight of `Quantized.loss` in the paper's objective
    by_frame: ClassVar[bool] = False  # `encode` looks at each frame alone
    # what helps against a collapse of the codes: values of fields of `Config`, and of `loss_weight`
    cure_values: ClassVar[Mapping[str, Any]] = {}

    out_dim: int  # C of what it gives
    num_groups: int  # G; 0 where there are no codes
    num_codes: int  # V, codes in each group

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """What a class says of its `encode` holds for no subclass: that may have changed any part of it."""
        super().__init_subclass__(**kwargs)
        if "by_frame" not in vars(cls):
            cls.by_frame = False
        if "split_encode" not in vars(cls):
            cls.split_encode = Quantizer.split_encode  # type: ignore[method-assign]

    def set_num_updates(self, num_updates: int) -> None:
        """The place for schedules; called more than once an update."""

    def end_update(self, num_updates: int) -> None:
        """The place for what changes the codebook besides the gradient; once, after the optimizer's step."""

    def discard_update(self) -> None:
        """The update was skipped: forgets what `forward` has kept for `end_update`."""

    def seed_codes(self, clips: Sequence[Tensor], seed: int, known: bool) -> None:
        """Codes begin anew, as frames of these clips [1, T, C]; `known`: z is what the old codes were for."""
        raise NotImplementedError

    def forward(self, z: Tensor) -> Quantized:  # [B, T, C]
        raise NotImplementedError

    def encode(self, z: Tensor) -> Tensor:  # [B, T, C] → [B, T, G]
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:  # [B, T, G] → [B, T, C]
        raise NotImplementedError

    def split_encode(self) -> SplitEncode | None:
        """How a long clip's codes are made in pieces; None: `encode` is given the whole clip's z at once."""
        return SplitEncode(lambda z: self.encode(z[None])[0]) if self.by_frame else None


def check_divides(out_dim: int, config: CodebookConfig) -> None:
    """The quantized vector is made of as many equal parts as there are groups."""
    if out_dim % config.vq_groups:
        field = "vq_dim" if config.vq_dim else "dimension of z"
        raise ValueError(f"`{field}` ({out_dim}) must be divisible by `vq_groups` ({config.vq_groups})")


def check_codes(codes: Tensor, num_codes: int) -> None:
    """Looks at every code, which on a GPU is waited for, once."""
    low, high = torch.stack(codes.aminmax()).tolist() if codes.numel() else (0, 0)
    if low < 0 or high >= num_codes:
        raise ValueError(f"codes run from {low} to {high}; expected 0 to {num_codes - 1}")


def nearest_entries(z: Tensor, entries: Tensor) -> Tensor:  # [N, G, D], [G or 1, V, D] → [N, G]
    """argmin ‖z − e‖² as argmin ‖e‖² − 2 z·e: one matrix product a group, nothing of size V × D."""
    wide = z.dtype if z.dtype == torch.float64 else torch.float32
    with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
        entries = entries.to(wide)
        norms = entries.square().sum(-1)  # [G or 1, V]
        products = torch.matmul(z.to(wide).transpose(0, 1), entries.transpose(1, 2))  # [G, N, V]
        codes = (norms.unsqueeze(1) - 2 * products).argmin(-1)  # [G, N]
    return codes.transpose(0, 1)


class ProductCodebook(nn.Module):
    """G codebooks of V entries, their entries side by side; or one that all groups share."""

    moved: Tensor | None

    def __init__(self, dim: int, config: CodebookConfig) -> None:
        super().__init__()
        out_dim = config.vq_dim or dim
        check_divides(out_dim, config)
        self.out_dim, self.num_groups, self.num_codes = out_dim, config.vq_groups, config.vq_vars
        self.entry_dim = out_dim // config.vq_groups
        books = 1 if config.combine_groups else config.vq_groups
        self.entries = nn.Parameter(torch.empty(books, config.vq_vars, self.entry_dim))  # [G or 1, V, D]
        # what revival has added to the entries: an optimizer that keeps a copy of them would undo it there
        self.register_buffer("moved", None)

    @property
    def table(self) -> Tensor:  # [G or 1, V, D]
        """The vectors that codes stand for."""
        return self.entries if self.moved is None else self.entries + self.moved

    def forward(self, codes: Tensor) -> Tensor:  # [B, T, G] → [B, T, G·D]
        check_codes(codes, self.num_codes)
        return self.lookup(codes)

    def lookup(self, codes: Tensor) -> Tensor:
        """`forward` without the check of range, which costs a device sync."""
        vectors = F.embedding(self.rows(codes), self.table.flatten(0, 1))  # [B, T, G, D]
        return vectors.flatten(-2)  # [B, T, G·D]

    def rows(self, codes: Tensor) -> Tensor:  # [..., G] → [..., G]
        """Where in the flattened table each group's code stands."""
        if self.entries.size(0) == 1:
            return codes
        return codes + torch.arange(self.num_groups, device=codes.device) * self.num_codes


class FullPrecision(nn.Module):
    """Its own floating-point buffers stay what they are when the model is cast to 16 bit."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FullPrecision:
        kept = {name: buffer for name, buffer in self._buffers.items() if buffer is not None}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, old in kept.items():
            new = self._buffers[name]
            if new is not None and new.dtype != old.dtype:
                self._buffers[name] = old.to(new.device)
        return self


class StraightThrough(torch.autograd.Function):
    """`y`'s value with `x`'s place in the graph: the gradient of y goes to x, unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def straight_through(x: Tensor, y: Tensor) -> Tensor:
    return StraightThrough.apply(x, y)  # type: ignore[no-untyped-call,no-any-return]


def perplexity(probs: Tensor) -> Tensor:  # [G, V] → [G]
    """exp of the entropy: 1 when one code is all there is, V when all are equally likely."""
    probs = probs.float()
    # stock's floor: it keeps the gradient finite where a softmax has underflown to 0
    return (-(probs * (probs + 1e-7).log()).sum(-1)).exp()


def count_perplexity(counts: Tensor) -> Tensor:  # [G, V] → [G]
    return perplexity(counts / counts.sum(-1, keepdim=True).clamp_min(1))


def code_counts(codes: Tensor, num_codes: int) -> Tensor:  # [B, T, G] → [G, V]
    flat = codes.flatten(0, -2).transpose(0, 1)  # [G, B·T]
    counts = torch.zeros(flat.size(0), num_codes, device=codes.device)
    return counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=counts.dtype))
