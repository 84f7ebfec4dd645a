"""The times of words and phones in a wav: CTM lines `utt 1 start duration label`, in seconds."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..common.inputs import read_text
from ..common.words import lines_of

_BLANKS = re.compile(r"[ \t\r]+")  # and no others: names may hold what Unicode counts as one


@dataclass(frozen=True)
class Segments:
    """The labels of one utterance in order of time."""

    starts: npt.NDArray[np.float64]  # [N] seconds
    ends: npt.NDArray[np.float64]  # [N] seconds
    labels: tuple[str, ...]

    def at(self, seconds: npt.NDArray[np.float64]) -> list[str | None]:
        """The label at each time; None where no segment lies."""
        index = np.searchsorted(self.starts, seconds, side="right") - 1
        inside = (index >= 0) & (seconds < self.ends[index.clip(0)])
        return [self.labels[i] if ok else None for i, ok in zip(index, inside, strict=True)]


def read_ctm(path: str | Path) -> dict[str, Segments]:
    """Every utterance's segments."""
    rows: dict[str, list[tuple[float, float, str]]] = {}
    try:
        text = read_text(path, "surrogateescape")  # as manifests have names
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); expected a CTM file") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    for number, line in enumerate(lines_of(text), 1):
        fields = [field for field in _BLANKS.split(line) if field]
        if not fields or line.startswith(";;"):
            continue
        try:
            utt, _, start, duration, label = fields[:5]
            begin, end = float(start), float(start) + float(duration)
            if not 0 <= begin <= end < math.inf:
                raise ValueError
            rows.setdefault(utt, []).append((begin, end, label))
        except ValueError:
            raise ValueError(
                f"{path}:{number}: {line[:80]!r} is no CTM line; expected `utt channel start duration label`"
            ) from None
    return {utt: _segments(sorted(found)) for utt, found in rows.items()}


def _segments(rows: list[tuple[float, float, str]]) -> Segments:
    starts, ends, labels = zip(*rows, strict=True)
    return Segments(np.array(starts), np.array(ends), tuple(labels))
