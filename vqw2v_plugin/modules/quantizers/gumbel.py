"""z ──quantizer──▶ tokens by Gumbel-softmax (vq-wav2vec, arXiv 1910.05453 §3.2; arXiv 1611.01144).

Shapes: B batch, T frames, C channels, G groups, V codes a group, D entry size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels import launching
from ..kernels.gumbel_sample import sample
from ..layers.norm import make_activation
from ..layers.ranks import num_ranks, sum_over_ranks
from .base import CodebookConfig, CodeStats, ProductCodebook, Quantized, Quantizer, code_counts, perplexity
from .seeding import draw_rows, scale_outputs

_DEEPEST = 100  # linear layers; many more take minutes to be built
_MOST_DIMENSIONS = 1 << 12  # of a space; of more, points are drawn for minutes
_ENTRY_STD = 0.5  # of entries that begin in a space


@dataclass(frozen=True)
class GumbelConfig(CodebookConfig):
    vq_depth: int = 2  # linear layers from z to the logits
    # (start, stop): linear over `temp_fraction` of training, as in the paper;
    # (start, stop, decay): × decay an update, as in stock fairseq
    vq_temp: list[float] = field(default_factory=lambda: [2.0, 0.5])
    activation: str = "relu"
    max_update: int = 0  # updates of the whole training, for the linear schedule
    head_dim: int = 0  # hidden size of the head; 0: twice z
    temp_fraction: float = 0.7
    # codes begin as points of a random space of so many dimensions, so that codes with like logits have like
    # entries; 0: every logit and every entry begins by itself, as in stock
    start_dim: int = 0
    start_logits: float = 20.0  # standard deviation that those logits begin with; the noise has 1.28

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.vq_depth <= _DEEPEST:
            raise ValueError(f"`vq_depth` is {self.vq_depth}; expected 1 to {_DEEPEST}")
        if len(self.vq_temp) not in (2, 3) or not all(0 < t < math.inf for t in self.vq_temp):
            raise ValueError(
                f"`vq_temp` is {self.vq_temp}; expected (start, stop) or (start, stop, decay), all positive"
            )
        if not 0 <= self.start_dim <= _MOST_DIMENSIONS:
            raise ValueError(
                f"`start_dim` is {self.start_dim}; expected 0 (as stock) or a number such as 8, at most "
                f"{_MOST_DIMENSIONS:,}"
            )
        if not 0 < self.start_logits < math.inf:
            raise ValueError(f"`start_logits` is {self.start_logits}; expected a positive number such as 20")
        if not 0 < self.temp_fraction <= 1:
            raise ValueError(
                f"`temp_fraction` is {self.temp_fraction}; expected a share of training in (0, 1]"
            )


class _SampledLookup(torch.autograd.Function):
    """entries[argmax] forward; backward as if the soft sample had been multiplied with the entries."""

    @staticmethod
    def forward(ctx: Any, soft: Tensor, entries: Tensor) -> Tensor:  # [N, G, V], [G or 1, V, D] → [N, G, D]
        books, num_codes, dim = entries.shape
        index = soft.argmax(-1)  # [N, G]
        if books > 1:
            index = index + torch.arange(books, device=index.device) * num_codes
        ctx.save_for_backward(index, entries)
        return entries.flatten(0, 1)[index.flatten()].view(*index.shape, dim)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        index, entries = ctx.saved_tensors
        grad = grads[0].type_as(entries)  # [N, G, D]
        to_soft = torch.matmul(grad.transpose(0, 1), entries.transpose(1, 2)).transpose(0, 1)  # [N, G, V]
        to_entries = torch.zeros_like(entries).flatten(0, 1)
        to_entries.index_add_(0, index.flatten(), grad.flatten(0, 1))
        return to_soft, to_entries.view_as(entries)


class GumbelQuantizer(Quantizer):
    """A small head gives logits for each group; training samples a code, evaluation takes the best."""

    Config: ClassVar[type[Any]] = GumbelConfig
    loss_weight: ClassVar[float] = 0.0  # vq-wav2vec trains Gumbel without a diversity term
    by_frame: ClassVar[bool] = True
    cure_values: ClassVar[Mapping[str, Any]] = {"start_dim": 8, "loss_weight": 0.1}

    def __init__(self, dim: int, config: GumbelConfig) -> None:
        super().__init__()
        self.config = config
        self.codebook = ProductCodebook(dim, config)
        self.out_dim = self.codebook.out_dim
        self.num_groups, self.num_codes = config.vq_groups, config.vq_vars
        self.head = _make_head(dim, config)
        nn.init.uniform_(self.codebook.entries)
        if config.start_dim:
            _begin_in_a_space(self.head, self.codebook.entries, dim, config)
        self.temperature = config.vq_temp[0]

    def set_num_updates(self, num_updates: int) -> None:
        self.temperature = temperature_at(num_updates, self.config)

    @torch.no_grad()
    def seed_codes(self, clips: Sequence[Tensor], seed: int, known: bool) -> None:
        """Each code is the nearest to a frame, as the head's last layer hears it.

        Where z is `known`, its entry is what the old codes made of that frame: a context that has learnt to
        read these can read the new ones.
        """
        z = torch.cat([clip.flatten(0, 1) for clip in clips])  # [N, C]
        last: Any = self.head[-1]
        heard = self.head[:-1](z)  # [N, H]
        heard = heard - heard.mean(1, keepdim=True)  # as `centred` wants the weights
        drawn = torch.Generator().manual_seed(seed)
        rows = torch.stack([draw_rows(len(z), self.num_codes, drawn) for _ in range(self.num_groups)])
        if known and len(self.codebook.entries) == self.num_groups:
            old = self.codebook.lookup(self.encode(z[None]))[0]  # [N, G·D]
            parts = old.view(len(z), self.num_groups, -1).transpose(0, 1)  # [G, N, D]
            self.codebook.entries.copy_(torch.stack([p[at] for p, at in zip(parts, rows, strict=True)]))
        points = heard[rows.flatten()]  # [G·V, H]
        logits = F.linear(heard, points, -points.square().sum(1) / 2)  # [N, G·V]: −½ ‖h − e‖² + ½ ‖h‖²
        scale = self.config.start_logits / (logits - logits.mean(0)).std().clamp_min(1e-8)
        last.weight.copy_(scale * points)
        last.bias.copy_(-scale * points.square().sum(1) / 2)

    def logits(self, z: Tensor) -> Tensor:  # [B, T, C] → [B, T, G, V]
        logits: Tensor = self.head(z)
        return logits.view(*z.shape[:2], self.num_groups, self.num_codes)

    def encode(self, z: Tensor) -> Tensor:
        return self.logits(z).argmax(-1)  # [B, T, G]

    def decode(self, codes: Tensor) -> Tensor:
        vectors: Tensor = self.codebook(codes)
        return vectors

    def forward(self, z: Tensor) -> Quantized:
        logits = self.logits(z)
        if self.training and launching.pays(logits) and logits.dtype != torch.float64:
            return self._sampled_at_once(z, logits)
        codes = logits.argmax(-1)  # [B, T, G]
        prob_perplexity = perplexity(self._mean_probs(logits))  # [G]
        # normalised to 0 … 1: stock's `num_vars·G − Σ perplexity` is this × V·G
        diversity_loss = 1 - prob_perplexity.mean() / self.num_codes
        x = self._sample(logits) if self.training else self.codebook.lookup(codes)
        stats = CodeStats(code_counts(codes, self.num_codes), prob_perplexity.detach(), self.temperature)
        return Quantized(x.type_as(z), codes, diversity_loss, stats)

    def _sampled_at_once(self, z: Tensor, logits: Tensor) -> Quantized:
        """Of few calls, as a GPU wants it."""
        found = sample(logits.flatten(0, 1), self.codebook.entries, self.temperature)
        frames = logits.size(0) * logits.size(1)
        probs = found.probs / frames
        if num_ranks() > 1:
            frames_of_all = sum_over_ranks(found.probs.new_tensor(float(frames)))
            probs = sum_over_ranks(found.probs) / frames_of_all
        prob_perplexity = perplexity(probs)  # [G]
        diversity_loss = 1 - prob_perplexity.mean() / self.num_codes
        stats = CodeStats(found.counts, prob_perplexity.detach(), self.temperature)
        x = found.x.flatten(1).view(*z.shape[:2], -1)  # [B, T, G·D]
        codes = found.codes.view(*z.shape[:2], -1)  # [B, T, G]
        return Quantized(x.type_as(z), codes, diversity_loss, stats)

    def _mean_probs(self, logits: Tensor) -> Tensor:  # [B, T, G, V] → [G, V]
        """Over the batch; in training over that of all ranks, since diversity is not a sum over frames."""
        probs = logits.float().softmax(-1).flatten(0, 1)  # [B·T, G, V]
        if not self.training or num_ranks() == 1:
            return probs.mean(0)
        frames = sum_over_ranks(probs.new_tensor(float(len(probs))))
        return sum_over_ranks(probs.sum(0)) / frames

    def _sample(self, logits: Tensor) -> Tensor:  # [B, T, G, V] → [B, T, G·D]
        logits = logits.float() if logits.dtype != torch.float64 else logits
        flat = logits.flatten(0, 2)  # [B·T·G, V], the layout in which stock draws its noise
        drawn = torch.empty_like(flat).exponential_().log_()  # less which is Gumbel's noise
        soft = ((flat - drawn) / self.temperature).softmax(-1)
        soft = soft.view(-1, self.num_groups, self.num_codes)  # [B·T, G, V]
        entries = self.codebook.entries
        x: Tensor = _SampledLookup.apply(soft, entries)  # type: ignore[no-untyped-call]
        return x.reshape(*logits.shape[:2], -1)


def _make_head(dim: int, config: GumbelConfig) -> nn.Sequential:
    outputs = config.vq_groups * config.vq_vars
    if config.vq_depth == 1:
        head = nn.Linear(dim, outputs)
        nn.init.normal_(head.weight)  # a single layer starts wide, as stock's does
        nn.init.zeros_(head.bias)
        return nn.Sequential(head)
    hidden = config.head_dim or 2 * dim
    layers: list[nn.Module] = []
    for i in range(config.vq_depth - 1):
        layers += [nn.Linear(hidden if i else dim, hidden), make_activation(config.activation)]
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))


@torch.no_grad()
def _begin_in_a_space(head: nn.Sequential, entries: Tensor, dim: int, config: GumbelConfig) -> None:
    """Logits are a code's point times random features of z, and its entry is an image of the point.

    A sample that the noise moves to another code lands near by then; independent entries would be anywhere.
    """
    last: Any = head[-1]
    points = F.normalize(
        torch.randn(entries.size(0), config.vq_vars, config.start_dim), dim=-1
    )  # [G or 1, V, S]
    features = torch.randn(config.vq_groups, config.start_dim, last.in_features)  # [G, S, H]
    last.weight.copy_(torch.matmul(points, features).flatten(0, 1))
    scale_outputs(head, last, dim, config.start_logits)
    images = torch.matmul(points, torch.randn(entries.size(0), config.start_dim, entries.size(-1)))
    entries.copy_(_ENTRY_STD * images / images.std())


def temperature_at(num_updates: int, config: GumbelConfig) -> float:
    """The softmax temperature after `num_updates` updates; it never leaves [stop, start]."""
    start, stop = config.vq_temp[:2]
    if len(config.vq_temp) == 3:
        return max(start * config.vq_temp[2] ** num_updates, stop)
    if config.max_update <= 0:
        raise ValueError(
            f"`vq_temp` ({start:g}, {stop:g}) falls linearly over {config.temp_fraction:.0%} of training, "
            "but `max_update` is not set; give it, or a decay an update as a third number: "
            "(2, 0.5, 0.999995)"
        )
    share = min(1.0, num_updates / (config.temp_fraction * config.max_update))
    return start + (stop - start) * share
