"""letters ──decoder──▶ text, judged: saved emissions beside the transcripts of the same utterances."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from ..data.emissions import SavedEmissions
from ..data.labels import read_labels
from .hypothesis import Emissions
from .judge import Judge
from .units import Units

logger = logging.getLogger(__name__)
_NAMED = 5


@dataclass(frozen=True)
class DevSet:
    """Emissions by number, mapped from the disk or at hand, and a transcript for each."""

    emissions: Callable[[int], Emissions]
    references: Sequence[str]

    def __len__(self) -> int:
        return len(self.references)


def join(
    saved: SavedEmissions, labels: str | os.PathLike[str], split: str, units: Units, judge: Judge
) -> DevSet:
    """By the utterances' names; those without a partner are counted and named."""
    known = read_labels(labels, split, units.kind)
    place = {utt: i for i, utt in enumerate(known.utts)}
    kept = [i for i, utt in enumerate(saved.utts) if utt in place]
    if not kept:
        raise ValueError(
            f"{labels}: has labels of none of the {len(saved):,} utterances of {split} "
            f"({_some(saved.utts)}); expected the label folder that belongs to these emissions"
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
        logger.warning(f"{split}: {len(utts):,} utterances have no {lacks} and are left out ({_some(utts)})")


def _some(utts: Collection[str]) -> str:
    return ", ".join(list(utts)[:_NAMED]) + (", …" if len(utts) > _NAMED else "")
