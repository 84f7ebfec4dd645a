"""features or tokens on disk, a row a frame and the frames' times, whichever a folder holds.

Shapes: T frames of an utterance, D features, G groups.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .feature_spec import read_spec
from .features import FEATURES, FeatureError, FeatureStore
from .symbols import DICT, NUM_SPECIAL, TOKENS, TokenError, read_dict
from .token_extras import read_durations
from .tokens import TokenStore

_MOST_CODES = 1 << 24  # of a group; a table has as many columns


@dataclass(frozen=True)
class FrameTimes:
    """The times of frames: frame t sees `receptive_field` samples from sample `stride` · t on."""

    stride: int
    receptive_field: int
    sample_rate: int  # Hz

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.stride

    def centres(self, num_frames: int) -> npt.NDArray[np.float64]:  # [T] seconds
        found: npt.NDArray[np.float64] = (
            np.arange(num_frames) * self.stride + self.receptive_field / 2
        ) / self.sample_rate
        return found

    def nearest(self, others: FrameTimes, begin: int, num_frames: int) -> npt.NDArray[np.int64]:
        """Which frame's centre lies nearest to that of each of `num_frames` others, of two the earlier.

        The others' first one begins at sample `begin` of their rate. Whole numbers alone: halves are halves.
        """
        ours, theirs = self.sample_rate, others.sample_rate
        middles = (
            2 * begin + others.receptive_field + 2 * others.stride * np.arange(num_frames, dtype=np.int64)
        )
        step = 2 * theirs * self.stride
        return -((step // 2 + self.receptive_field * theirs - middles * ours) // step)


class FrameSource:
    """Frames of utterances: `source[utt]` is [T, D] or, for tokens, codes [T, G]."""

    layer = "features"

    def __init__(self, folder: Path, split: str, about: Mapping[str, Any], places: dict[str, int]) -> None:
        self.folder, self.split, self.about, self.places = folder, split, about, places
        missing = [name for name in ("stride", "receptive_field", "sample_rate") if name not in about]
        if missing:
            raise FeatureError(
                f"{folder}: its json does not say {', '.join(missing)}, so its frames have no times; make it "
                f"anew with `vqw2v features` or `vqw2v discretize`"
            )

    def __getitem__(self, utt: str) -> npt.NDArray[Any]:
        raise NotImplementedError

    @property
    def times(self) -> FrameTimes:
        return FrameTimes(*(int(self.about[name]) for name in ("stride", "receptive_field", "sample_rate")))

    def span(self, start: float, end: float) -> tuple[int, int]:
        """The frames whose centres lie from `start` to before `end` seconds."""
        rate, stride = self.about["sample_rate"], self.about["stride"]
        half = self.about["receptive_field"] / 2
        first, last = (int(np.ceil((t * rate - half) / stride - 1e-6)) for t in (start, end))
        return max(0, first), max(0, last)


class FeatureFrames(FrameSource):
    """A feature folder's split."""

    def __init__(self, folder: Path, split: str) -> None:
        self.store = FeatureStore(folder, split)
        places = {utt: i for i, (utt, _) in enumerate(self.store.rows)}
        super().__init__(folder, split, FEATURES.read_about(folder), places)
        spec = read_spec(folder)
        self.layer = spec.layer or "features"
        if not spec.has_times:
            raise FeatureError(
                f"{folder}: holds segments, or frames of audio without its silence, which have no even "
                f"times; expected frames as `vqw2v features` writes them"
            )

    def __getitem__(self, utt: str) -> npt.NDArray[Any]:
        return self.store[self.places[utt]]


class TokenFrames(FrameSource):
    """A token folder's split with runs expanded to frames; a token that the dictionary lacks is code -1."""

    layer = "codes"

    def __init__(self, folder: Path, split: str) -> None:
        self.store = TokenStore(folder, split)
        places = {utt: i for i, (utt, _) in enumerate(self.store.rows)}
        super().__init__(folder, split, TOKENS.read_about(folder), places)
        symbols = [_codes(symbol, folder) for symbol in read_dict(folder / DICT)]
        groups = {len(codes) for codes in symbols} or {1}
        if len(groups) > 1:
            raise FeatureError(f"{folder / DICT}: has symbols of {sorted(groups)} codes; expected one number")
        unknown = [-1] * groups.pop()
        self._table = np.array([unknown] * NUM_SPECIAL + symbols, dtype=np.int32)  # [ids, G]
        self._lengths, self._ends = None, np.cumsum(self.store.sizes)
        if self.about.get("run_length"):
            self._lengths = read_durations(folder, split, self.store)

    def check_codes(self, num_groups: int, num_codes: int) -> None:
        """A FeatureError where the dictionary has other codes than these."""
        groups, last = self._table.shape[1], int(self._table.max())
        if groups != num_groups or not last < num_codes <= _MOST_CODES:
            raise FeatureError(
                f"{self.store.folder / DICT}: has symbols of {groups} codes up to {last}, {TOKENS.about} "
                f"says `num_groups` {num_groups} and `num_codes` {num_codes}; the two are not of one run"
            )

    def __getitem__(self, utt: str) -> npt.NDArray[Any]:
        place = self.places[utt]
        ids = self.store[place]
        codes: npt.NDArray[Any] = self._table[np.where(ids < len(self._table), ids, 0)]
        if self._lengths is not None:
            end = int(self._ends[place])
            codes = codes.repeat(self._lengths[end - len(ids) : end], axis=0)
        return codes


def read_code_sizes(folder: str | os.PathLike[str]) -> tuple[int, int]:
    """Groups and codes a group of tokens that are one a frame, at times that are known."""
    about = TOKENS.read_about(folder)
    wanted = ("num_groups", "num_codes", "stride", "receptive_field", "sample_rate")
    if missing := [name for name in wanted if name not in about]:
        raise TokenError(
            f"{folder}: {TOKENS.about} does not say {', '.join(missing)}; expected codes of frames, as "
            f"`vqw2v discretize` writes them"
        )
    if about.get("run_length"):
        raise TokenError(
            f"{folder}: holds run-length tokens, one for several equal codes; expected one a frame: make "
            f"them with `vqw2v discretize` without `--run-length`"
        )
    return int(about["num_groups"]), int(about["num_codes"])


def open_frames(folder: str | os.PathLike[str], split: str | None, hints: Iterable[str]) -> FrameSource:
    """Features or tokens, whichever the folder holds; of several splits the one that a hint names."""
    path = Path(folder)
    there = {"features": FEATURES.splits(path), "tokens": TOKENS.splits(path)}
    kinds = [kind for kind, names in there.items() if names]
    if len(kinds) != 1:
        what = "features and tokens" if kinds else "neither features nor tokens"
        raise FeatureError(
            f"{path}: holds {what}; expected a folder of `vqw2v features` or of `vqw2v discretize`"
        )
    names = there[kinds[0]]
    chosen = split or next((hint for hint in hints if hint in names), names[0] if len(names) == 1 else "")
    if chosen not in names:
        got = f"`--split` is {split!r}" if split else "it is not clear which split is meant"
        raise FeatureError(f"{path}: {got}; the splits there are: {', '.join(names)}; name one of these")
    return (FeatureFrames if kinds[0] == "features" else TokenFrames)(path, chosen)


def _codes(symbol: str, folder: Path) -> list[int]:
    parts = symbol.split("-")
    if not all(part.isdecimal() and len(part) < 9 for part in parts):
        raise FeatureError(f"{folder / DICT}: symbol {symbol!r} is not a code; expected one such as '12-207'")
    return [int(part) for part in parts]
