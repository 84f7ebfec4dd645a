"""phones ──counts──▶ how text and output differ in pairs of phones some places apart, and in first phones.

N-skipgrams and positional unigrams (arXiv 2310.02382). A text's are counted once, of all of it; the output's
are expected counts of a batch. Shapes: B batch, T phones, V columns, N places: apart, or from the start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers.padding import padding

_TINY = 1e-6  # in a logarithm


@dataclass(frozen=True)
class Skipgrams:
    """Shares that sum to 1: of pairs, for each distance [N, V, V], and of phones, for each place [N, V]."""

    pairs: Tensor
    starts: Tensor

    @property
    def frequencies(self) -> Tensor:
        """Of phones [V], wherever they are."""
        return (self.pairs[0].sum(0) + self.pairs[0].sum(1)) / 2


def of_output(probabilities: Tensor, lengths: Tensor, reach: int) -> Skipgrams:
    """Of distributions [B, T, V]; frames behind an end count nowhere."""
    heard = probabilities.masked_fill(padding(lengths, probabilities.size(1)).unsqueeze(2), 0.0)
    short = max(0, reach + 1 - heard.size(1))
    heard = F.pad(heard, (0, 0, 0, short))
    pairs = [torch.einsum("btv,btw->vw", heard[:, :-far], heard[:, far:]) for far in range(1, reach + 1)]
    return Skipgrams(_shares(torch.stack(pairs), (1, 2)), _shares(heard[:, :reach].sum(0), (1,)))


def of_text(lines: Iterable[Tensor], num_columns: int, reach: int, repeats: float = 1.0) -> Skipgrams:
    """Of lines of columns, however many; each phone is heard so many times in the mean, geometrically."""
    held = list(lines)
    if repeats > 1:
        draws = torch.Generator().manual_seed(0)
        held = [
            line.repeat_interleave(torch.empty(len(line)).geometric_(1 / repeats, generator=draws).long())
            for line in held
        ]
    pairs = [
        _counts([line[:-far] * num_columns + line[far:] for line in held], num_columns * num_columns)
        for far in range(1, reach + 1)
    ]
    starts = [_counts([line[place : place + 1] for line in held], num_columns) for place in range(reach)]
    counted = torch.stack(pairs).view(reach, num_columns, num_columns)
    return Skipgrams(_shares(counted, (1, 2)).float(), _shares(torch.stack(starts), (1,)).float())


def lost(text: Tensor, output: Tensor) -> Tensor:
    """Nats a table that shares of the output lose on those of text: Kullback and Leibler's divergence."""
    text = text.to(output)
    return (text * ((text + _TINY).log() - (output + _TINY).log())).sum() / len(text)


def _counts(keys: list[Tensor], size: int) -> Tensor:
    return torch.bincount(torch.cat(keys), minlength=size).double()


def _shares(counts: Tensor, dims: tuple[int, ...]) -> Tensor:
    return counts / counts.sum(dims, keepdim=True).clamp_min(_TINY)
