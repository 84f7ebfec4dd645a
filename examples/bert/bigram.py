"""What BERT has to beat: counts of which token stands at which distance from which, without a network.

K masked tokens, V symbols. A masked token x has a nearest visible token l, d1 tokens to its left, and r, d2
to its right (<s> and </s> are visible). All is counted in the training tokens at exactly these distances:

    p(x | l, d1) = (n(l, d1, x) + k · p(x)) / (n(l, d1) + k)                  one side; p(x | r, d2) likewise
    p2(x)        ∝ (p(x | l, d1) · p(x | r, d2))^a · p(x)^(1 - 2a)            both sides
    p3(x)        = (n(l, d1, x, d2, r) + j · p2(x)) / (n(l, d1 + d2, r) + j)  both sides, counted together

k, a and j are those that do best on a tenth of the training utterances, for counts of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

FARTHEST = 40  # greater distances count as this one
_STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_POWERS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Masked:
    """Masked tokens, their nearest visible tokens and the distances to these: [K] each."""

    target: Ids
    left: Ids
    before: Ids
    right: Ids
    after: Ids

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, chosen: npt.NDArray[np.bool_] | slice) -> Masked:
        return Masked(*(value[chosen] for value in vars(self).values()))


@dataclass(frozen=True)
class Smoothing:
    """k, a and j of the formulas above; j None: p2 alone."""

    one_side: float = 10.0
    power: float = 1.0
    together: float | None = None


def find_neighbours(tokens: Ids, mask: npt.NDArray[np.bool_]) -> Masked:
    """From one sequence [T] between <s> and </s>, which are never masked."""
    places, visible = np.flatnonzero(mask), np.flatnonzero(~mask)
    after = np.searchsorted(visible, places)
    left, right = visible[after - 1], visible[after]
    return Masked(tokens[places], tokens[left], places - left, tokens[right], right - places)


def join(parts: Sequence[Masked]) -> Masked:
    return Masked(
        *(np.concatenate(values) for values in zip(*(vars(p).values() for p in parts), strict=True))
    )


class Bigram:
    """Counts of sequences [T], each between <s> and </s>."""

    def __init__(self, sequences: Sequence[Ids], num_symbols: int) -> None:
        self.num_symbols = num_symbols
        self._tokens = np.concatenate(sequences)
        self._owner = np.repeat(np.arange(len(sequences)), [len(s) for s in sequences])
        uses = (
            np.bincount(self._tokens, minlength=num_symbols) + 0.1
        )  # leaves a symbol that training lacks possible
        self.unigram: Floats = (uses / uses.sum()).astype(np.float32)

    def bits(self, masked: Masked, how: Smoothing) -> tuple[float, float]:
        """Cross-entropy in bits and accuracy on masked tokens."""
        return score(self.log_probs(masked, how), masked.target)

    def log_probs(self, masked: Masked, how: Smoothing) -> Floats:  # [K, V]
        both = self._combine(*self._sides(masked, how.one_side), how.power)
        return both if how.together is None else self._counted_together(masked, both, [how.together])[0]

    def tune(self, masked: Masked) -> Smoothing:
        """The smoothing that does best on held-out tokens."""
        best, least, product = Smoothing(), np.inf, None
        for strength in _STRENGTHS:
            left, right = self._sides(masked, strength)
            for power in _POWERS:
                both = self._combine(left, right, power)
                bits = score(both, masked.target)[0]
                if bits < least:
                    best, least, product = Smoothing(strength, power), bits, both
        assert product is not None
        together = self._counted_together(masked, product, _STRENGTHS)
        found = [score(log_probs, masked.target)[0] for log_probs in together]
        if min(found) < least:
            best = replace(best, together=_STRENGTHS[int(np.argmin(found))])
        return best

    def _sides(self, masked: Masked, strength: float) -> tuple[Floats, Floats]:
        """log p(x | l, d1) and log p(x | r, d2): [K, V] each."""
        left, right = (np.empty((len(masked), self.num_symbols), np.float32) for _ in range(2))
        before, after = masked.before.clip(max=FARTHEST), masked.after.clip(max=FARTHEST)
        for distance in np.union1d(before, after).tolist():
            counts = self._pairs(distance)  # [V, V]: the earlier token, the later one
            for table, out, given, gap in (
                (counts, left, masked.left, before),
                (counts.T, right, masked.right, after),
            ):
                chosen = gap == distance
                rows = table[given[chosen]] + strength * self.unigram
                out[chosen] = np.log(rows / rows.sum(1, keepdims=True))
        return left, right

    def _combine(self, left: Floats, right: Floats, power: float) -> Floats:
        scores = power * (left + right) + (1 - 2 * power) * np.log(self.unigram)
        top = scores.max(1, keepdims=True)
        total: Floats = scores - top - np.log(np.exp(scores - top).sum(1, keepdims=True))
        return total

    def _counted_together(self, masked: Masked, both: Floats, strengths: Sequence[float]) -> list[Floats]:
        counts = np.zeros_like(both)
        for chosen, before, after in _by_distances(masked):
            first, middle, last = self._at(0, before, before + after)
            keys = first * self.num_symbols + last
            order = np.argsort(keys, kind="stable")
            asked = masked.left[chosen] * self.num_symbols + masked.right[chosen]
            begin, end = (np.searchsorted(keys[order], asked, side=side) for side in ("left", "right"))
            number = end - begin
            within = np.arange(number.sum()) - np.repeat(number.cumsum() - number, number)
            found = middle[order[np.repeat(begin, number) + within]]
            np.add.at(counts, (np.repeat(chosen, number), found), 1)
        total = counts.sum(1, keepdims=True)
        return [np.log((counts + j * np.exp(both)) / (total + j)) for j in strengths]

    def _pairs(self, distance: int) -> Floats:  # [V, V]
        first, second = self._at(0, distance)
        size = self.num_symbols
        return (
            np.bincount(first * size + second, minlength=size * size).reshape(size, size).astype(np.float32)
        )

    def _at(self, *offsets: int) -> tuple[Ids, ...]:
        """Tokens at these distances, wherever they are all in one sequence."""
        count = max(0, len(self._tokens) - offsets[-1])
        inside = self._owner[:count] == self._owner[offsets[-1] :]
        return tuple(self._tokens[offset : offset + count][inside] for offset in offsets)


def score(log_probs: Floats, target: Ids) -> tuple[float, float]:
    """Cross-entropy in bits a token, and how often the true one is the likeliest."""
    nats = -log_probs[np.arange(len(target)), target].mean(dtype=np.float64)
    return float(nats / np.log(2)), float((log_probs.argmax(1) == target).mean())


def _by_distances(masked: Masked) -> Iterator[tuple[Ids, int, int]]:
    """Which masked tokens have the same two distances."""
    key = masked.before * (1 + int(masked.after.max(initial=0))) + masked.after
    for value in np.unique(key):
        chosen = np.flatnonzero(key == value)
        yield chosen, int(masked.before[chosen[0]]), int(masked.after[chosen[0]])
