"""letters ──decoder──▶ text under many weights: emissions decoded in processes, each point's errors counted.

A point is given up as soon as it has more errors than the `keep`-th best has in all: errors only grow, so
what is found is what decoding everything would have found.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from ..common.progress import Progress
from ..common.words import some_of
from ..stores.emissions import ABOUT, SavedEmissions
from ..stores.labels import read_labels
from ..text.units import Units
from .beam import FreeDecoder, LexiconDecoder
from .hypothesis import Emissions, check_transitions
from .scoring import ErrorScore, Judge
from .settings import Effort, Weights

PARTS = 8  # of the utterances, after each of which a point may be given up
BeamDecoder = LexiconDecoder | FreeDecoder


class Trials:
    """Points and their scores; processes are forked when first needed and share lexicon and LM, uncopied."""

    def __init__(
        self,
        decoder: BeamDecoder,
        dev_set: DevSet,
        judge: Judge,
        workers: int = 1,
        keep: int = Effort.keep,
        seed: int = Effort.seed,
    ) -> None:
        for name, value in (("workers", workers), ("keep", keep), ("utterances", len(dev_set))):
            if value < 1:
                raise ValueError(f"`{name}` is {value}; expected 1 or more")
        order = np.random.default_rng(seed).permutation(len(dev_set))  # each part is like the whole
        parts = np.array_split(order, min(PARTS, len(dev_set)))
        self.parts = [part.tolist() for part in parts]
        self.workers, self.keep, self.work = workers, keep, _Work(decoder, dev_set, judge)
        self.scores: dict[Weights, ErrorScore] = {}  # of the points that were decoded to the end
        self.given_up: set[Weights] = set()
        self._asked: dict[Weights, int] = {}
        self._executor: Executor | None = None

    def run(self, points: Sequence[Weights], what: str) -> None:
        """Scores those points that are new."""
        new = [point for point in dict.fromkeys(points) if point not in self._asked]
        self._asked |= {point: len(self._asked) + i for i, point in enumerate(new)}
        total = len(new) * sum(map(len, self.parts))
        with Progress(what, total) as progress:
            race = _Race(self, new, progress)
            pending: dict[Future[ErrorScore], tuple[Weights, int]] = {}
            tasks = race.tasks()
            while True:
                while len(pending) < self.workers + 1 and (task := next(tasks, None)) is not None:
                    pending[self._submit(*task)] = task
                if not pending:
                    return
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    race.take(*pending.pop(future), _result(future))

    def best(self) -> list[tuple[Weights, ErrorScore]]:
        """The `keep` best, the best first; of equal ones the first that was asked for."""
        ranked = sorted(self.scores.items(), key=lambda item: (item[1].order, self._asked[item[0]]))
        return ranked[: self.keep]

    def are_alike(self, score: ErrorScore, points: Sequence[Weights] | None = None) -> bool:
        """Whether all that were tried (of these points) make as many errors."""
        tried = self._asked if points is None else points
        return all(point in self.scores and self.scores[point].order == score.order for point in tried)

    def bound(self) -> float:
        """With more errors than this a point is none of the best."""
        best = self.best()
        return best[-1][1].errors.total if len(best) == self.keep else float("inf")

    def close(self) -> None:
        """Ends the processes."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _submit(self, point: Weights, part: int) -> Future[ErrorScore]:
        if self.workers == 1:
            done: Future[ErrorScore] = Future()
            done.set_result(self.work(point, self.parts[part]))
            return done
        if self._executor is None:
            fork = get_context("fork")
            self._executor = ProcessPoolExecutor(self.workers, fork, _begin_worker, (self.work,))
        return self._executor.submit(_in_worker, point, self.parts[part])


class _Race:
    """The points of one `run`: which part is next, and who is out."""

    def __init__(self, trials: Trials, points: Sequence[Weights], progress: Progress) -> None:
        self.trials, self.points, self.progress = trials, points, progress
        self.sums = dict.fromkeys(points, ErrorScore())
        self.left = dict.fromkeys(points, len(trials.parts))

    def tasks(self) -> Iterator[tuple[Weights, int]]:
        """A point after the other, so that the first ones soon say what there is to beat."""
        for point in self.points:
            for part in range(len(self.trials.parts)):
                if point in self.trials.given_up:
                    self._skip(part)
                else:
                    yield point, part

    def take(self, point: Weights, part: int, score: ErrorScore) -> None:
        self.progress.advance(len(self.trials.parts[part]))
        self.left[point] -= 1
        self.sums[point] += score
        if self.sums[point].errors.total > self.trials.bound():
            self.trials.given_up.add(point)
        elif not self.left[point]:
            self.trials.scores[point] = self.sums[point]

    def _skip(self, part: int) -> None:
        if self.progress.total is not None:
            self.progress.total -= len(self.trials.parts[part])


@dataclass(frozen=True)
class _Work:
    """What every process has."""

    decoder: BeamDecoder
    dev_set: DevSet
    judge: Judge

    def __call__(self, point: Weights, numbers: Sequence[int]) -> ErrorScore:
        decoder, total = self.decoder.with_settings(**point._asdict(), nbest=1), ErrorScore()
        for number in numbers:
            best = decoder.decode(self.dev_set.emissions(number))[0]
            total += self.judge(self.dev_set.references[number], best)
        return total


def _result(future: Future[ErrorScore]) -> ErrorScore:
    try:
        return future.result()
    except BrokenProcessPool:
        raise ValueError(
            "a decoding process was killed (too little memory?); take fewer `--workers`, a smaller `--beam`"
        ) from None


_worker: list[Any] = []


def _begin_worker(work: _Work) -> None:
    import torch

    torch.set_num_threads(1)  # a forked process has none of its parent's threads to wait for
    _worker[:] = [work]


def _in_worker(point: Weights, numbers: Sequence[int]) -> ErrorScore:
    score: ErrorScore = _worker[0](point, numbers)
    return score


logger = logging.getLogger(__name__)
_NAMED = 5


@dataclass(frozen=True)
class DevSet:
    """Emissions by number, mapped from the disk or at hand, and a transcript for each."""

    emissions: Callable[[int], Emissions]
    references: Sequence[str]

    def __len__(self) -> int:
        return len(self.references)


def units_of(saved: SavedEmissions) -> Units:
    """What the emissions' columns stand for, of a loss that their transitions are right for."""
    try:
        units = Units.from_json(saved.units)
        check_transitions(saved.transitions, len(units), units.loss)
    except ValueError as error:
        raise ValueError(f"{saved.store.folder / ABOUT}: {error}") from None
    return units


def join(
    saved: SavedEmissions, labels: str | os.PathLike[str], split: str, units: Units, judge: Judge
) -> DevSet:
    """By the utterances' names; those without a partner are counted and named."""
    known = read_labels(labels, split, units.kind)
    place = {utt: i for i, utt in enumerate(known.utts)}
    kept = [i for i, utt in enumerate(saved.utts) if utt in place]
    if not kept:
        raise ValueError(
            f"{labels}: has labels of none of the {len(saved):,} utterances of {split} in "
            f"{saved.store.folder} ({some_of(saved.utts, _NAMED)}); "
            "expected the label folder that belongs to these emissions"
        )
    _warn(split, "labels", [utt for utt in saved.utts if utt not in place])
    _warn(split, "emissions", sorted(set(place) - set(saved.utts)))
    references = []
    for at in (place[saved.utts[i]] for i in kept):
        words = None if known.words is None else known.words[at]
        references.append(judge.reference(known.labels[at], words, units))
    if not any(references):
        raise ValueError(f"{labels}: the transcripts of {split} are empty; expected {judge.unit} to count")
    return DevSet(partial(_emissions, saved, kept), references)


def _emissions(saved: SavedEmissions, kept: Sequence[int], number: int) -> Emissions:
    return saved[kept[number]]


def _warn(split: str, lacks: str, utts: Sequence[str]) -> None:
    if utts:
        logger.warning(
            f"{split}: {len(utts):,} utterances have no {lacks} and are left out ({some_of(utts, _NAMED)})"
        )
