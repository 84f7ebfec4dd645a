"""z, c, codes … and phone times → ABX: how often a phone X is nearer to a wrong phone B than to another A.

A and X are stretches of one phone, B of another, all with the same neighbours (or any); A and B are one
speaker's. "Within", X is by the same speaker; "across", by another. This is the error of the ZeroSpeech
challenges (Schatz et al. 2013, Interspeech; Kahn et al. 2020, arXiv 1912.07875). The mean is taken over the
triples of one phone pair, context and speaker (across: A's and X's speaker), then over speakers, contexts and
phone pairs, where (A, B) and (B, A) are two pairs. Equal distances count half.

Chance is 1/2 for features that are constant, overall or within each item. Noise that changes from frame to
frame does worse: the more freely a path may wander, the lower its mean cost; it may wander more between
stretches of unequal lengths; and A is more often as long as X than B is.

Shapes: X, A, C items (stretches of frames) that are X, A, or of all phones of A's speaker and context.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .dtw import RESOLUTION, Floats, pair_distances, prepare_frames

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Items:
    """Stretches of phones: item i is `frames[starts[i] : starts[i] + sizes[i]]`; names are numbered."""

    frames: npt.NDArray[Any]  # [F, D], or codes [F, G]
    starts: Ints
    sizes: Ints
    phones: Ints
    contexts: Ints
    speakers: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, index: Ints) -> Items:
        """Some of the items, in this order."""
        chosen = (self.starts, self.sizes, self.phones, self.contexts, self.speakers)
        return Items(self.frames, *(column[index] for column in chosen))


@dataclass(frozen=True)
class Plan:
    """At most so many items of each phone, context and speaker, and so many speakers of X, are compared."""

    max_items: int = 10
    max_speakers: int = 5
    seed: int = 1

    def __post_init__(self) -> None:
        if self.max_items < 2 or self.max_speakers < 1:
            raise ValueError(
                f"`--items` is {self.max_items}, `--speakers` {self.max_speakers}; expected 2 and 1 at least"
            )


@dataclass(frozen=True)
class AbxScore:
    """An error between 0 and 1 and what it is the mean of: (error, triples) of each pair of phones (A, B)."""

    error: float
    triples: int
    contexts: int
    by_pair: dict[tuple[int, int], tuple[float, int]] = field(repr=False)

    @property
    def phones(self) -> set[int]:
        return {phone for pair in self.by_pair for phone in pair}


class _Cell(NamedTuple):
    """All X of one phone and speaker against all items of a speaker, in one context: slices of items."""

    context: int
    phone: int
    xs: slice
    columns: slice
    within: bool


def abx(
    items: Items, distance: str, plan: Plan, far: Callable[..., Floats] = pair_distances
) -> tuple[AbxScore | None, AbxScore | None]:
    """(within, across); None where no triple can be made, as across with one speaker.

    `far` stands in for `pair_distances`, as on a GPU.
    """
    items = _sampled(items, plan)
    cells = list(_cells(items, plan))
    if not cells:
        return None, None
    pairs = [_keys(cell, len(items)) for cell in cells]
    keys, inverse = np.unique(np.concatenate(pairs), return_inverse=True)
    unique = np.stack(np.divmod(keys, len(items)), 1)  # [P, 2]
    frames = prepare_frames(items.frames, distance)
    distances = far(frames, items.starts, items.sizes, unique, distance)[inverse]
    tables: dict[bool, _Table] = {True: _Table(), False: _Table()}
    place = 0
    for cell, own in zip(cells, pairs, strict=True):
        shape = (cell.xs.stop - cell.xs.start, cell.columns.stop - cell.columns.start)
        tables[cell.within].add(cell, items, distances[place : place + len(own)].reshape(shape))
        place += len(own)
    return tables[True].score(), tables[False].score()


def _sampled(items: Items, plan: Plan) -> Items:
    """At most `max_items` of each context, speaker and phone, sorted by these."""
    lot = np.random.default_rng(plan.seed).random(len(items))
    order = np.lexsort((lot, items.phones, items.speakers, items.contexts))
    kept: Ints = order[: plan.max_items]
    if len(order):
        same = np.ones(len(order), dtype=bool)
        for column in (items.phones, items.speakers, items.contexts):
            same[1:] &= column[order][1:] == column[order][:-1]
        same[0] = False
        first = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
        kept = order[np.arange(len(order)) - first < plan.max_items]
    return items.take(kept)


def _cells(items: Items, plan: Plan) -> Iterator[_Cell]:
    rng = np.random.default_rng([plan.seed, 1])
    for context, speakers in _groups(items).items():
        spans = {s: slice(groups[0][1].start, groups[-1][1].stop) for s, groups in speakers.items()}
        sayers: dict[int, dict[int, slice]] = defaultdict(dict)  # phone: speaker: its items
        for speaker, groups in speakers.items():
            for phone, span in groups:
                sayers[phone][speaker] = span
        for speaker, groups in speakers.items():
            if len(groups) < 2:
                continue
            for phone, span in groups:
                if span.stop - span.start > 1:
                    yield _Cell(context, phone, span, spans[speaker], True)
                others = [other for other in sayers[phone] if other != speaker]
                if len(others) > plan.max_speakers:
                    others = [others[i] for i in sorted(rng.permutation(len(others))[: plan.max_speakers])]
                for other in others:
                    yield _Cell(context, phone, sayers[phone][other], spans[speaker], False)


def _groups(items: Items) -> dict[int, dict[int, list[tuple[int, slice]]]]:
    """Context: speaker: (phone, its items), of sorted items."""
    columns = np.stack([items.contexts, items.speakers, items.phones], 1)
    changes = np.flatnonzero((columns[1:] != columns[:-1]).any(1)) + 1
    bounds = np.concatenate([[0], changes, [len(items)]]).tolist() if len(items) else [0]
    found: dict[int, dict[int, list[tuple[int, slice]]]] = {}
    for begin, end in itertools.pairwise(bounds):
        context, speaker, phone = columns[begin].tolist()
        found.setdefault(context, {}).setdefault(speaker, []).append((phone, slice(begin, end)))
    return found


def _keys(cell: _Cell, num_items: int) -> Ints:  # [X · C]
    """A number for each pair of X and column, the same in either order."""
    x = np.arange(cell.xs.start, cell.xs.stop)[:, None]
    column = np.arange(cell.columns.start, cell.columns.stop)[None, :]
    keys: Ints = np.minimum(x, column) * num_items + np.maximum(x, column)
    return keys.reshape(-1)


class _Table:
    """Errors of cells (A's phone, B's phone, context, speakers), and their mean."""

    def __init__(self) -> None:
        self.pairs: list[tuple[int, int]] = []
        self.contexts: list[int] = []
        self.errors: list[float] = []
        self.triples: list[int] = []

    def add(self, cell: _Cell, items: Items, distances: Floats) -> None:  # [X, C]
        phones = items.phones[cell.columns]  # [C], sorted
        is_a = np.flatnonzero(phones == cell.phone)
        to_a = distances[:, is_a]  # [X, A]
        nearer = to_a[:, :, None] - distances[:, None, :]  # [X, A, C]
        wrong = (nearer > RESOLUTION).astype(np.float64) + (nearer >= -RESOLUTION)
        num_each = to_a.size
        if cell.within:  # X and A come from the same items, and no item is compared with itself
            num_each -= len(is_a)
            wrong[np.arange(len(is_a)), np.arange(len(is_a))] = 0
        firsts = np.flatnonzero(np.append(True, phones[1:] != phones[:-1]))
        sums = np.add.reduceat(wrong.sum((0, 1)) / 2, firsts)
        counts = np.diff(np.append(firsts, len(phones))) * num_each
        for phone, total, count in zip(phones[firsts].tolist(), sums.tolist(), counts.tolist(), strict=True):
            if phone != cell.phone:
                self.pairs.append((cell.phone, phone))
                self.contexts.append(cell.context)
                self.errors.append(total / count)
                self.triples.append(count)

    def score(self) -> AbxScore | None:
        """The mean over speakers, then contexts, then pairs of phones."""
        if not self.errors:
            return None
        by_context: dict[tuple[tuple[int, int], int], list[float]] = defaultdict(list)
        triples: dict[tuple[int, int], int] = defaultdict(int)
        for pair, context, error, count in zip(
            self.pairs, self.contexts, self.errors, self.triples, strict=True
        ):
            by_context[pair, context].append(error)
            triples[pair] += count
        by_pair: dict[tuple[int, int], list[float]] = defaultdict(list)
        for (pair, _), errors in by_context.items():
            by_pair[pair].append(_mean(errors))
        means = {pair: (_mean(errors), triples[pair]) for pair, errors in sorted(by_pair.items())}
        error = _mean([error for error, _ in means.values()])
        return AbxScore(error, sum(self.triples), len(set(self.contexts)), means)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
