"""clusters ──▶ phones without an adversary: text is the language, clusters are its cipher, solved by EM.

A hidden Markov model whose states are phones and whose transitions are the text's bigrams; only what a phone
sounds like, P(cluster | phone), and how long it lasts are learnt (Knight et al. 2006). Two steps: EM over the
counts of cluster bigrams, from many starts at once, and of the best ones Baum-Welch over the sequences.
Shapes: R restarts, V phones, K clusters, B sequences, T steps; the last row of [V + 1] and [K + 1] is a
sentence's end, which is also its beginning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_PRIOR = 1e-3  # of a count, so that nothing is impossible
_LEAST, _MOST = 0.01, 0.9  # how likely a phone may go on with another cluster
_BATCH = 512  # sequences
_ORDERLESS = 16  # restarts with a text whose order is taken away


@dataclass(frozen=True)
class Solution:
    """What was found, and how well it explains the clusters."""

    emissions: Tensor  # [V, K]
    stay: float  # how likely a phone goes on
    gain: float  # bits a cluster that the order of phones explains: near 0 the text cannot be told from noise


@dataclass(frozen=True)
class Effort:
    """How long is looked for a solution."""

    restarts: int = 256
    passes: int = 25  # over the counts, before the worse half of the restarts is given up
    refined: int = 4  # of the restarts, by Baum-Welch
    passes_after: int = 15
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("restarts", "passes", "refined"):
            if not 1 <= getattr(self, name) <= 100_000:
                raise ValueError(f"`{name}` is {getattr(self, name)}; expected 1 to 100,000")


def bigram_counts(sequences: Sequence[Tensor], size: int) -> Tensor:  # [size + 1, size + 1]
    """How often one symbol is followed by another; `size` is the end of a sequence."""
    end = torch.tensor([size])
    joined = torch.cat([end, *(part for sequence in sequences for part in (sequence.long(), end))])
    pairs = joined[:-1] * (size + 1) + joined[1:]
    return torch.bincount(pairs, minlength=(size + 1) ** 2).view(size + 1, size + 1).double()


def decipher(
    clusters: Sequence[Tensor], num_clusters: int, text: Sequence[Tensor], num_phones: int, effort: Effort
) -> Solution:
    """Sequences of clusters and sentences of phones, which need not say the same."""
    if not any(map(len, clusters)) or not any(map(len, text)):
        raise ValueError("there are no clusters or no phones to decipher; expected some of both")
    language = bigram_counts(text, num_phones) + _PRIOR
    counts = bigram_counts(clusters, num_clusters)
    stay = _stay_by_length(clusters, text)
    found = _solved(clusters, counts, language, stay, effort)
    few = replace(effort, restarts=min(_ORDERLESS, effort.restarts), refined=1)
    alone = _solved(clusters, counts, _without_order(language), stay, few)
    bits = (found[0] - alone[0]) / sum(len(sequence) + 1 for sequence in clusters) / math.log(2)
    return Solution(found[1].float(), found[2], bits)


def _stay_by_length(clusters: Sequence[Tensor], text: Sequence[Tensor]) -> float:
    """How likely a phone goes on, were sentences as long as utterances are: counts cannot tell it apart."""
    said, heard = ([len(each) for each in lines if len(each)] for lines in (text, clusters))
    return min(max(1 - (sum(said) / len(said)) / (sum(heard) / len(heard)), _LEAST), _MOST)


def _solved(
    clusters: Sequence[Tensor], counts: Tensor, language: Tensor, stay: float, effort: Effort
) -> tuple[float, Tensor, float]:
    """Log likelihood, emissions and how likely a phone stays, of the best of all starts."""
    emissions, scores = _from_counts(counts, language, stay, effort)
    best = scores.argsort(descending=True)[: effort.refined]
    found = [_refined(clusters, emissions[i], stay, language, effort.passes_after) for i in best]
    return max(found, key=lambda each: each[0])


def _without_order(language: Tensor) -> Tensor:
    """The same phones as often, whatever stands before them."""
    return language.sum(1, keepdim=True) * language.sum(0, keepdim=True) / language.sum()


def _from_counts(counts: Tensor, language: Tensor, stay: float, effort: Effort) -> tuple[Tensor, Tensor]:
    """EM from all starts: emissions [R, V, K] and log likelihoods [R] of those that are left."""
    phones, clusters = len(language) - 1, len(counts) - 1
    generator = torch.Generator().manual_seed(effort.seed)
    share = counts[:-1, :].sum(1)[:clusters] + 1.0
    noise = torch.rand(effort.restarts, phones, clusters, generator=generator, dtype=torch.float64)
    # exponential noise: a draw from all distributions there are, weighted by how frequent clusters are
    emissions = _rows(-noise.clamp_min(1e-12).log() * share)
    joint = _joint(language, stay)
    while True:
        for _ in range(effort.passes):
            emissions, likelihood = _count_pass(counts, joint, emissions)
        if len(emissions) <= effort.refined:
            return emissions, likelihood
        best = likelihood.argsort(descending=True)[: max(effort.refined, len(emissions) // 2)]
        emissions = emissions[best]


def _joint(language: Tensor, stay: float) -> Tensor:  # [V + 1, V + 1]
    """P(phone, next phone), where phones go on; a sentence's end does not."""
    times = language.sum(1)
    times[-1] = 0
    whole = language + torch.diag(times) * stay / (1 - stay)
    return whole / whole.sum()


def _with_end(emissions: Tensor) -> Tensor:  # [R, V, K] → [R, V + 1, K + 1]
    whole = emissions.new_zeros(len(emissions), emissions.size(1) + 1, emissions.size(2) + 1)
    whole[:, :-1, :-1] = emissions
    whole[:, -1, -1] = 1
    return whole


def _count_pass(counts: Tensor, joint: Tensor, emissions: Tensor) -> tuple[Tensor, Tensor]:
    """One step of EM; the likelihood is that before it."""
    whole = _with_end(emissions)
    said = (whole.transpose(1, 2) @ joint @ whole).clamp_min(1e-300)  # [R, K + 1, K + 1]
    ratio = counts / said
    likelihood = (counts * said.log()).sum((1, 2))
    expected = whole * (joint @ (whole @ ratio.transpose(1, 2)) + joint.T @ (whole @ ratio))
    return _rows(expected[:, :-1, :-1] + _PRIOR), likelihood


def _rows(x: Tensor) -> Tensor:
    return x / x.sum(-1, keepdim=True)


def _transitions(language: Tensor, stay: float) -> tuple[Tensor, Tensor, Tensor]:
    """P(next | phone) [V, V] with phones that go on, P(first) [V], P(end | phone) [V]."""
    moves = _rows(language)
    inside = (1 - stay) * moves[:-1, :-1] + stay * torch.eye(len(language) - 1, dtype=language.dtype)
    return inside, moves[-1, :-1] / moves[-1, :-1].sum(), (1 - stay) * moves[:-1, -1]


def _padded(sequences: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Batches [B, T] of sequences of like lengths, and their lengths; empty ones are left out."""
    order = sorted((len(sequence), i) for i, sequence in enumerate(sequences) if len(sequence))
    batches = []
    for first in range(0, len(order), _BATCH):
        rows = [sequences[i].long() for _, i in order[first : first + _BATCH]]
        lengths = torch.tensor([len(row) for row in rows])
        batches.append((torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths))
    return batches


def _refined(
    clusters: Sequence[Tensor], emissions: Tensor, stay: float, language: Tensor, passes: int
) -> tuple[float, Tensor, float]:
    """Baum-Welch: the log likelihood after so many passes, emissions and how likely a phone stays."""
    batches = _padded(clusters)
    for _ in range(passes):
        expected, stayed, steps, _ = _expect(batches, emissions, stay, language)
        emissions, stay = _rows(expected + _PRIOR), min(max(stayed / max(steps, 1.0), _LEAST), _MOST)
    return _expect(batches, emissions, stay, language)[3], emissions, stay


def _expect(
    batches: Sequence[tuple[Tensor, Tensor]], emissions: Tensor, stay: float, language: Tensor
) -> tuple[Tensor, float, float, float]:
    """Expected counts [V, K], of going on and of steps, and the log likelihood."""
    inside, start, end = _transitions(language, stay)
    counts = torch.zeros_like(emissions)
    stayed = steps = likelihood = 0.0
    for codes, lengths in batches:
        seen = emissions.T[codes]  # [B, T, V]
        is_there = torch.arange(codes.size(1)) < lengths[:, None]  # [B, T]
        seen = torch.where(is_there[..., None], seen, torch.ones_like(seen))
        forward, scales = _forward(seen, is_there, inside, start)
        last = forward[torch.arange(len(codes)), lengths - 1]  # [B, V]
        ends = (last * end).sum(1).clamp_min(1e-300)
        likelihood += float((scales.log() * is_there).sum() + ends.log().sum())
        backward = torch.empty_like(forward)
        now = end.expand(len(codes), -1) / ends[:, None]
        backward[:, -1] = now
        for t in range(codes.size(1) - 2, -1, -1):
            step = (now * seen[:, t + 1]) / scales[:, t + 1, None]
            goes_on = is_there[:, t + 1, None]
            both = forward[:, t] * step * goes_on
            stayed += float((both * (stay * torch.ones_like(start))).sum())
            now = torch.where(goes_on, step @ inside.T, now)
            backward[:, t] = now
        posterior = forward * backward * is_there[..., None]  # [B, T, V]
        counts.index_add_(1, codes.flatten(), posterior.flatten(0, 1).T.contiguous())
        steps += float(lengths.sum())
    return counts, stayed, steps, likelihood


def _forward(seen: Tensor, is_there: Tensor, inside: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled forward probabilities [B, T, V] and their scales [B, T]."""
    found, scales = torch.empty_like(seen), torch.ones_like(seen[..., 0])
    now = start * seen[:, 0]
    for t in range(seen.size(1)):
        now = now if t == 0 else torch.where(is_there[:, t, None], (now @ inside) * seen[:, t], now)
        scales[:, t] = torch.where(is_there[:, t], now.sum(1).clamp_min(1e-300), scales[:, t])
        now = now / now.sum(1, keepdim=True).clamp_min(1e-300)
        found[:, t] = now
    return found, scales


def read_out(clusters: Tensor, solution: Solution, text: Sequence[Tensor], num_phones: int) -> list[int]:
    """The likeliest phones behind a sequence of clusters [T] (Viterbi), each once however long it lasts."""
    if not len(clusters):
        return []
    language = bigram_counts(text, num_phones) + _PRIOR
    return _viterbi(clusters, solution, language)


def _viterbi(clusters: Tensor, solution: Solution, language: Tensor) -> list[int]:
    """States are (phone, is it new): a phone that comes twice is told from one that lasts."""
    moves, stay = _rows(language).log(), solution.stay
    seen = solution.emissions.double().clamp_min(1e-300).log().T[clusters.long()]  # [T, V]
    going = torch.log(torch.tensor(1 - stay, dtype=torch.float64)) + moves[:-1, :-1]
    staying = torch.log(torch.tensor(stay, dtype=torch.float64))
    score = moves[-1, :-1] + seen[0]
    origins, kept = [], []
    for row in seen[1:]:
        best, origin = (score[:, None] + going).max(0)
        stays = score + staying
        is_kept = stays >= best
        score = torch.where(is_kept, stays, best) + row
        origins.append(origin.tolist())
        kept.append(is_kept.tolist())
    phone = int((score + moves[:-1, -1]).argmax())
    said = []
    for origin, is_kept in zip(reversed(origins), reversed(kept), strict=True):
        if not is_kept[phone]:
            said.append(phone)
            phone = origin[phone]
    return [*said, phone][::-1]


def by_frequency(cluster_counts: Tensor, phone_counts: Tensor) -> Tensor:  # [K], [V] → [K]
    """The unigram guess: a phone for each cluster, such that frequent clusters are frequent phones.

    From the most frequent down, a cluster goes to the phone that lacks most of its share.
    """
    lacks = phone_counts.double() / phone_counts.sum()
    found = torch.zeros(len(cluster_counts), dtype=torch.long)
    shares = cluster_counts.double() / cluster_counts.sum().clamp_min(1)
    for cluster in shares.argsort(descending=True, stable=True).tolist():
        found[cluster] = lacks.argmax()
        lacks[found[cluster]] -= shares[cluster]
    return found
