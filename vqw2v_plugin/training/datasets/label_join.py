"""states ──acoustic model──▶ letters, what comes out: labels joined to utterances by name.

What cannot be learnt is left out, counted and named before training starts. Shapes: N utterances.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...common.words import some_of
from ...stores.labels import LabelError, Labels, dict_name

logger = logging.getLogger(__name__)

_NAMED = 8
_STRANGE = "have strange labels"
Columns = npt.NDArray[np.int64]


class Target(Protocol):
    """What labels become columns by: units of what is said, or classes."""

    @property
    def kind(self) -> str: ...

    @property
    def labels(self) -> frozenset[str]: ...

    def encode(self, labels: Sequence[str]) -> list[int]: ...

    def frames_needed(self, columns: Sequence[int]) -> int: ...


class UnequalRows:
    """Rows of different lengths in one array, which worker processes share uncopied."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
        flat = (value for row in rows for value in row)
        self.values = np.fromiter(flat, np.int32, int(self.ends[-1]) if len(self.ends) else 0)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Columns:
        begin = int(self.ends[index - 1]) if index else 0
        return self.values[begin : int(self.ends[index])].astype(np.int64)


@dataclass(frozen=True)
class JoinedLabels:
    """Utterances to learn from: their numbers [N] in the source, their columns, and who is left out."""

    rows: npt.NDArray[np.int64]
    columns: UnequalRows
    left_out: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """Which utterances are wanted: by name (None: all) and by length, in frames or samples."""

    chosen: frozenset[str] | None = None
    shortest: int = 1
    longest: int | None = None

    def __post_init__(self) -> None:
        if self.longest is not None and self.longest < self.shortest:
            raise LabelError(
                f"`max_frames` ({self.longest}) must be at least `min_frames` ({self.shortest}); change one"
            )

    def wants(self, utt: str) -> bool:
        return self.chosen is None or utt in self.chosen

    def fits(self, size: int) -> bool:
        return self.shortest <= size and (self.longest is None or size <= self.longest)


def join(
    utts: Sequence[str],
    sizes: npt.NDArray[np.int64],
    frames: npt.NDArray[np.int64],
    labels: Labels,
    units: Target,
    selection: Selection,
) -> JoinedLabels:
    """Labels to utterances by name; `sizes` are of what is heard, `frames` of the emissions."""
    said = dict(zip(labels.utts, labels.labels, strict=True))
    if len(said) < len(labels.utts):
        twice = Counter(labels.utts).most_common(1)[0][0]
        raise LabelError(f"the utterance {twice!r} has labels twice; expected names that tell them apart")
    rows, columns = [], []
    left_out: dict[str, list[str]] = {}
    unknown: Counter[str] = Counter()
    for row, utt in enumerate(utts):
        spelled = said.pop(utt, ())
        if spelled and not selection.wants(utt):
            continue
        found: list[int] | None = []
        if strange := [label for label in spelled if label not in units.labels]:
            unknown.update(strange)
            found = None
        elif spelled:
            found = units.encode(spelled)
        if reason := _fault(found, int(sizes[row]), int(frames[row]), units, selection):
            left_out.setdefault(reason[0], []).append(utt + reason[1])
        else:
            rows.append(row)
            columns.append(found or [])
    if unheard := [utt for utt in said if selection.wants(utt)]:
        left_out["have labels but nothing to be heard"] = unheard
    if _STRANGE in left_out:
        named = ", ".join(f"{label!r} {count:,} times" for label, count in unknown.most_common(_NAMED))
        lacking = f"have labels that the dictionary ({dict_name(units.kind)}) lacks ({named})"
        left_out[lacking] = left_out.pop(_STRANGE)
    return JoinedLabels(np.array(rows, np.int64), UnequalRows(columns), left_out)


def _fault(
    columns: list[int] | None, size: int, frames: int, units: Target, selection: Selection
) -> tuple[str, str] | None:
    """Why an utterance cannot be learnt from, and what is to be said behind its name."""
    if columns is None:
        return _STRANGE, ""
    if not columns:
        return "have no labels", ""
    if not selection.fits(size):
        return "are shorter than `min_frames` or longer than `max_frames`", f" ({size})"
    if (needed := units.frames_needed(columns)) > frames:
        return "are too short for their labels", f" ({frames} frames of emissions, {needed} needed)"
    return None


def report(name: str, joined: JoinedLabels, strict: bool) -> None:
    """Names what is left out, once, before anything is trained."""
    said = [
        f"{name}: {len(names):,} utterances {reason} and are left out: {some_of(names)}"
        for reason, names in joined.left_out.items()
    ]
    for line in said:
        logger.warning(line)
    if said and strict:
        raise LabelError(f"{said[0]}; and `strict_labels` is set")
    if not len(joined.rows):
        raise LabelError(
            f"{name}: not one utterance is left to learn from ({'; '.join(said) or 'it is empty'}); labels "
            "and features are joined by the names in SPLIT.utt and SPLIT.ids: make both from one manifest"
        )
