"""The n-gram LM of the last arrow, second half: modified Kneser-Ney (Chen & Goodman 1999, §4.1.6).

As lmplz does it (Heafield et al. 2013): closed-form discounts for each order, every order interpolated
with the one below, the lowest with the uniform distribution over all words and `<unk>`.
Shapes: N n-grams of one order, in suffix order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..common.files import writing_text
from .ngram_counts import BOS, EOS, Ints, NGrams, Text, count_ngrams

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FALLBACK = (0.5, 1.0, 1.5)
MAX_ORDER = 6


@dataclass(frozen=True)
class Discounts:
    """What is subtracted from counts of 1, 2, and 3 or more; `problem` says why it is not estimated."""

    values: tuple[float, float, float]
    problem: str = ""

    def of(self, counts: Ints) -> Floats:
        return np.array([0.0, *self.values])[np.minimum(counts, 3)]


@dataclass(frozen=True)
class Order:
    """What an ARPA file holds for one order; `first` and `suffix` as in `NGrams`, after pruning."""

    first: Ints  # [N]
    suffix: Ints  # [N] rows of the order below
    log10_prob: Floats  # [N]
    log10_backoff: Floats  # [N]
    discounts: Discounts
    num_pruned: int

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class NGramModel:
    """A back-off model: log10 p(w | context), and what a context charges for asking the order below."""

    words: tuple[str, ...]
    orders: tuple[Order, ...]


def train_ngram(text: Text, order: int, prune: Sequence[int] = ()) -> NGramModel:
    """`prune`: a count an order, the last for all above; n-grams seen so often or less are left out."""
    check_order(order)
    thresholds = pruning(prune, order)
    counts = count_ngrams(text, order)
    kept = [
        _kept(grams, least, n) for n, (grams, least) in enumerate(zip(counts, thresholds, strict=True), 1)
    ]
    for n, keep in enumerate(kept, 1):
        if not keep.any():
            raise ValueError(f"`prune` {thresholds[n - 1]} leaves no {n}-gram of {len(keep)}; lower it")
    discounts = [estimate_discounts(adjusted) for adjusted in _counts_for_discounts(counts)]
    return NGramModel(text.words, tuple(_interpolate(counts, kept, discounts)))


def check_order(order: int) -> None:
    if not 1 <= order <= MAX_ORDER:
        raise ValueError(f"`order` is {order}; expected 1 to {MAX_ORDER}")


def pruning(prune: Sequence[int], order: int) -> list[int]:
    """One threshold for each order."""
    given = list(prune) or [0]
    if len(given) > order or min(given) < 0 or given != sorted(given):
        raise ValueError(
            f"`prune` is {' '.join(map(str, given))}; expected at most {order} counts, none below 0 and none "
            "below the one before it"
        )
    return given + given[-1:] * (order - len(given))


def _kept(grams: NGrams, threshold: int, order: int) -> Bools:  # [N]
    """Prunes by occurrences, not adjusted counts, so that an n-gram's context and suffix stay with it."""
    keep: Bools = grams.raw > threshold
    if order == 1:
        keep[: EOS + 1] = True
    return keep


def _counts_for_discounts(orders: list[NGrams]) -> list[Ints]:
    """Adjusted counts, but for the very last n-gram of each lower order its occurrences.

    lmplz does so, and in small texts the discounts show it.
    """
    counts = [grams.adjusted for grams in orders]
    for n, grams in enumerate(orders[:-1]):
        counts[n] = np.append(grams.adjusted[:-1], grams.raw[-1:])
        if grams.first[-1] == BOS:
            break
    return counts


def estimate_discounts(adjusted: Ints) -> Discounts:
    """D_j = j − (j + 1) · Y · n_{j+1} / n_j, Y = n_1 / (n_1 + 2 n_2); lmplz's fallback where that fails."""
    n = np.bincount(np.minimum(adjusted, 5), minlength=6).tolist()
    for j in (1, 2, 3):
        if not n[j]:
            return Discounts(FALLBACK, f"none has the adjusted count {j}")
    y = n[1] / (n[1] + 2 * n[2])
    values = tuple(j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3))
    for j, value in enumerate(values, 1):
        if not 0 <= value <= j:
            return Discounts(
                FALLBACK, f"the estimate for the adjusted count {j} is {value:.3g}, not within 0 to {j}"
            )
    return Discounts(values)


def _interpolate(counts: list[NGrams], kept: list[Bools], discounts: list[Discounts]) -> list[Order]:
    """p(w | context) = (count − D) / total + γ(context) · p(w | shorter context), lowest order first."""
    below = np.array([1.0 / (np.count_nonzero(kept[0]) - 1)])  # uniform: with <unk>, without <s>
    probs: list[Floats] = []
    backoffs: list[Floats] = []
    for grams, keep, discount in zip(counts, kept, discounts, strict=True):
        taken = discount.of(grams.adjusted)
        freed = np.where(keep, taken, grams.adjusted)  # what is pruned is left to the order below
        total: Floats = np.bincount(grams.context, grams.adjusted, minlength=len(below)).astype(np.float64)
        gamma = np.ones(len(below))
        np.divide(np.bincount(grams.context, freed, minlength=len(below)), total, out=gamma, where=total > 0)
        own = (grams.adjusted - taken) / total[grams.context]
        above: Floats = own + gamma[grams.context] * below[grams.suffix]
        if not probs:
            above[BOS] = 1.0
        probs.append(above)
        backoffs.append(gamma)
        below = above
    backoffs.append(np.ones(len(below)))
    orders = []
    rows = np.zeros(1, dtype=np.int32)  # rows of the order below, without what is pruned
    for n, (grams, keep) in enumerate(zip(counts, kept, strict=True)):
        suffix = rows[grams.suffix[keep]]
        prob, backoff = _log10(probs[n][keep]), _log10(backoffs[n + 1][keep])
        pruned = len(keep) - len(suffix)
        orders.append(Order(grams.first[keep], suffix, prob, backoff, discounts[n], pruned))
        rows = np.cumsum(keep, dtype=np.int32) - 1
    return orders


def _log10(values: Floats) -> Floats:
    """−99 stands for no probability at all, as in other ARPA files."""
    return np.log10(np.clip(values, 1e-99, 1.0))


LINES_AT_ONCE = 1 << 16


def write_arpa(model: NGramModel, path: str | Path) -> None:
    """Writes the file; it appears under its name only when complete."""
    with writing_text(Path(path)) as out:
        out.writelines(arpa_blocks(model))


def arpa_blocks(model: NGramModel) -> Iterator[str]:
    """The file's text, a few thousand lines at a time."""
    counts = (f"ngram {n}={len(order)}\n" for n, order in enumerate(model.orders, 1))
    yield "\\data\\\n" + "".join(counts)
    words = np.array(model.words, dtype=object)
    for n, order in enumerate(model.orders, 1):
        yield f"\n\\{n}-grams:\n"
        is_highest = n == len(model.orders)
        form = "%.7g\t" + " ".join(["%s"] * n) + ("\n" if is_highest else "\t%.7g\n")
        for start in range(0, len(order), LINES_AT_ONCE):
            rows = np.arange(start, min(start + LINES_AT_ONCE, len(order)), dtype=np.int32)
            columns = [order.log10_prob[rows].tolist()]
            columns += [words[column].tolist() for column in _word_columns(model.orders[:n], rows)]
            if not is_highest:
                columns.append(order.log10_backoff[rows].tolist())
            yield "".join([form % line for line in zip(*columns, strict=True)])
    yield "\n\\end\\\n"


def _word_columns(orders: tuple[Order, ...], rows: Ints) -> list[Ints]:
    """The n-grams' words, the first ones first: n × [len(rows)]."""
    columns = []
    for order in reversed(orders):
        columns.append(order.first[rows])
        rows = order.suffix[rows]
    return columns
