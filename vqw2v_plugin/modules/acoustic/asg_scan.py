"""states ──acoustic model──▶ letters: ASG's two sums over paths (wav2letter, arXiv 1609.03193 §2.2).

Shapes: B batch, T frames, V labels, L labels of a target, D directions of time: 1 without gradients, else 2,
the second from each utterance's last frame to its first, in the same steps as the first.
All is float64, and finite: what is below `LOWEST` counts as that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..kernels import asg_paths, launching
from ..layers.padding import padding

LOWEST = -1e9
# exp(−600) is a normal float64: where no product of a step spans more, the scan can leave the log domain
LARGEST_SPAN = 600.0
ELEMENTS_AT_ONCE = 1 << 17
WORTH_THREADS = 1 << 20


@dataclass(frozen=True)
class PathSum:
    """log Σ exp(score of a path), and its gradients: how often each label and each step is expected."""

    score: Tensor  # [B]
    gradients: tuple[Tensor, Tensor] | None = None  # by emissions [B, T, V], by transitions [B, V, V]


def finite(scores: Tensor) -> Tensor:
    return scores.detach().double().clamp_min(LOWEST)


@contextmanager
def threads_for(emissions: Tensor) -> Iterator[None]:
    """One thread where a step is small: several wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    batch, _, size = emissions.shape
    if emissions.device.type != "cpu" or threads == 1 or batch * size * size > WORTH_THREADS:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def all_paths(emissions: Tensor, transitions: Tensor, lengths: Tensor, gradients: bool) -> PathSum:
    """Over every path: emissions [B, T, V] and transitions [V, V] (to, from) as `finite` gives them."""
    if launching.pays(emissions) and emissions.size(2) <= asg_paths.MOST_LABELS:
        return PathSum(*asg_paths.all_paths(emissions, transitions, lengths, gradients))
    by_time = _both_ways(emissions, lengths, gradients)  # [T, D, B, V]
    spread = (by_time.amax(-1) - by_time.amin(-1)).amax()
    span = spread + 2 * (transitions.amax() - transitions.amin())
    scan = _scan_products if bool(span < LARGEST_SPAN) else _scan_logs
    return scan(by_time, transitions, lengths)


def _scan_products(emissions: Tensor, transitions: Tensor, lengths: Tensor) -> PathSum:
    """A matrix product a step, scaled so that the most probable label has 1. Needs `LARGEST_SPAN`."""
    top = emissions.amax(-1, keepdim=True)
    e = (emissions - top).exp_()  # [T, D, B, V]
    shift = transitions.amax()
    p = (transitions - shift).exp()
    steps = torch.stack([p.T, p])[: e.size(1)].contiguous()  # [D, V, V]
    a, peak = torch.empty_like(e), torch.ones_like(top)
    a[0] = e[0]
    rows, factors, peaks = a.unbind(), e.unbind(), peak.unbind()
    for t in range(1, len(rows)):
        torch.bmm(rows[t - 1], steps, out=rows[t])
        rows[t].mul_(factors[t])
        torch.amax(rows[t], -1, keepdim=True, out=peaks[t])
        rows[t].div_(peaks[t])
    grown = (peak[:, 0].log() + top[:, 0]).squeeze(-1).cumsum(0)  # [T, B]
    score = _last(grown, lengths) + _last(a[:, 0], lengths).sum(-1).log() + (lengths - 1) * shift
    if e.size(1) == 1:
        return PathSum(score)
    a, b, behind = a[:, 0], _turn(a[:, 1], lengths), padding(lengths, len(e)).T.unsqueeze(-1)  # [T, B, ·]
    labels = (a * b).div_(e[:, 0])
    total = labels.sum(-1, keepdim=True)
    labels = labels.div_(total).masked_fill_(behind, 0.0)  # [T, B, V]
    arrived = (b / (total * peak[:, 0])).masked_fill_(behind, 0.0)[1:]
    expected = torch.bmm(arrived.permute(1, 2, 0), a[:-1].transpose(0, 1)) * p  # [B, V, V]
    return PathSum(score, (labels.transpose(0, 1), expected))


def _scan_logs(emissions: Tensor, transitions: Tensor, lengths: Tensor) -> PathSum:
    """The same for scores of any size: slower, and everything stays a logarithm."""
    steps = torch.stack([transitions, transitions.T])[: emissions.size(1)].unsqueeze(1)  # [D, 1, V, V]
    a = torch.empty_like(emissions)
    a[0] = emissions[0]
    rows, factors = a.unbind(), emissions.unbind()
    for t in range(1, len(rows)):
        torch.logsumexp(rows[t - 1].unsqueeze(-2) + steps, -1, out=rows[t])
        rows[t].add_(factors[t])
    score = _last(a[:, 0], lengths).logsumexp(-1)
    if emissions.size(1) == 1:
        return PathSum(score)
    a, b, behind = a[:, 0], _turn(a[:, 1], lengths), padding(lengths, len(emissions)).T.unsqueeze(-1)
    labels = (a + b - emissions[:, 0] - score.unsqueeze(-1)).exp().masked_fill_(behind, 0.0)  # [T, B, V]
    b = (b - score.unsqueeze(-1)).masked_fill_(behind, -torch.inf)
    expected = emissions.new_zeros(a.size(1), *transitions.shape)
    at_once = max(1, ELEMENTS_AT_ONCE // expected.numel())
    for froms, tos in zip(torch.split(a[:-1], at_once), torch.split(b[1:], at_once), strict=True):
        paths = froms.unsqueeze(-2) + transitions  # [T, B, V, V]
        expected += paths.add_(tos.unsqueeze(-1)).exp_().sum(0)
    return PathSum(score, (labels.transpose(0, 1), expected))


def target_paths(
    emissions: Tensor,
    transitions: Tensor,
    lengths: Tensor,
    targets: Tensor,
    target_lengths: Tensor,
    gradients: bool,
) -> PathSum:
    """Over the paths that hold each target label [B, L] in turn. Meaningless where L > T or L = 0."""
    stay = transitions[targets, targets]  # [B, L]
    step = transitions[targets[:, 1:], targets[:, :-1]]  # [B, L - 1]
    last = (target_lengths - 1).clamp_min(0)
    if launching.pays(emissions):
        said = emissions.gather(2, targets.unsqueeze(1).expand(-1, emissions.size(1), -1))  # [B, T, L]
        score, places = asg_paths.target_paths(said, stay, step, lengths, last, gradients)
        if places is None:
            return PathSum(score)
        places = places.masked_fill_(_outside(lengths, target_lengths, said).transpose(0, 1), 0.0)
        return PathSum(score, _spread(places, targets, target_lengths, transitions.size(0)))
    e = emissions.transpose(0, 1).gather(-1, targets.expand(emissions.size(1), -1, -1))  # [T, B, L]
    e += stay  # so that a step costs what it has over staying
    a = _scan_band(e, stay, F.pad(step, (1, 0)) - stay, torch.zeros_like(last), 1)
    score = _last(a, lengths).gather(-1, last.unsqueeze(-1)).squeeze(-1)
    if not gradients:
        return PathSum(score)
    b = _turn(_scan_band(_turn(e, lengths), stay, F.pad(step, (0, 1)) - stay, last, -1), lengths)
    held = b.add_(a).sub_(e).add_(stay - score.unsqueeze(-1)).exp_()  # [T, B, L]
    held = held.masked_fill_(_outside(lengths, target_lengths, e.transpose(0, 1)), 0.0).transpose(0, 1)
    return PathSum(score, _spread(held, targets, target_lengths, transitions.size(0)))


def _outside(lengths: Tensor, target_lengths: Tensor, said: Tensor) -> Tensor:
    """[T, B, L] of `said` [B, T, L]: True where there is no frame, or no label."""
    return padding(lengths, said.size(1)).T.unsqueeze(-1) | padding(target_lengths, said.size(2))


def _scan_band(e: Tensor, stay: Tensor, cheaper: Tensor, first: Tensor, way: int) -> Tensor:
    """[T, B, L]: the log sum over the paths from label `first` [B] to each, by staying or from beside it.

    Beside is the label below where `way` is 1, and the one above, for time turned round, where it is -1.
    """
    frames, batch, size = e.shape
    reached = e.new_empty(frames, batch, size + 1)
    mine, beside = (reached[..., 1:], reached[..., :-1]) if way > 0 else (reached[..., :-1], reached[..., 1:])
    reached[..., 0 if way > 0 else -1] = -torch.inf  # nothing lies beside the first and the last
    others = F.one_hot(first, size) == 0
    mine[0] = (e[0] - stay).masked_fill(others, -torch.inf)
    here, there, factors, stepped = mine.unbind(), beside.unbind(), e.unbind(), torch.empty_like(stay)
    for t in range(1, frames):
        torch.add(there[t - 1], cheaper, out=stepped)
        torch.logaddexp(stepped, here[t - 1], out=here[t])
        here[t].add_(factors[t])
    return mine


def _spread(held: Tensor, targets: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """From positions to labels. Each position is entered once, and stayed in for the rest of its frames."""
    one_hot = F.one_hot(targets, size).to(held) * ~padding(lengths, targets.size(1)).unsqueeze(
        -1
    )  # [B, L, V]
    stays = (held.sum(1) - 1).unsqueeze(-1) * one_hot
    expected = torch.bmm(one_hot.transpose(1, 2), stays)
    expected += torch.bmm(one_hot[:, 1:].transpose(1, 2), one_hot[:, :-1])
    return torch.bmm(held, one_hot), expected


def _both_ways(emissions: Tensor, lengths: Tensor, turned: bool) -> Tensor:
    """[B, T, V] → [T, D, B, V]."""
    batch, frames, size = emissions.shape
    rows = torch.arange(frames, device=lengths.device).unsqueeze(1).expand(frames, batch)
    ways = torch.stack([rows, _turned(lengths, frames)] if turned else [rows], 1)  # [T, D, B]
    starts = torch.arange(batch, device=lengths.device) * frames
    return emissions.reshape(-1, size)[ways + starts]


def _turned(lengths: Tensor, size: int) -> Tensor:
    """[size, B]: where each row's first `length` places come from, turned round; 0 behind them."""
    return (lengths - 1 - torch.arange(size, device=lengths.device).unsqueeze(1)).clamp_min(0)


def _turn(rows: Tensor, lengths: Tensor) -> Tensor:
    """[T, B, …] with each batch row's first `length` places turned round."""
    batch = rows.size(1)
    flat = _turned(lengths, len(rows)) * batch + torch.arange(batch, device=rows.device)
    return rows.flatten(0, 1)[flat]


def _last(rows: Tensor, lengths: Tensor) -> Tensor:
    """[T, B, …] → [B, …] at each last frame."""
    return rows[(lengths - 1).clamp_min(0), torch.arange(rows.size(1), device=rows.device)]
