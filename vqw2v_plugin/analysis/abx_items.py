"""A folder of features or tokens, and phone times → the stretches of frames that ABX compares.

Shapes: T frames of an utterance, F frames of all items, D features, G groups.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..corpora.ctm import Segments
from ..stores.features import FEATURES, FeatureError, FeatureStore
from ..stores.symbols import DICT, NUM_SPECIAL, TOKENS, read_dict
from ..stores.token_extras import read_durations
from ..stores.tokens import TokenStore
from .abx import Items
from .abx_choices import SILENCES

_SILENCE = "SIL"  # the neighbour of a phone at an utterance's end or a gap, and the name of every silence
_MOST_CODES = 1 << 24  # of a group; a table has as many columns
_GAP = 0.005  # seconds between two segments that rounding may explain


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
        self.layer = str(self.about.get("layer", "features"))

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


class _Phone(NamedTuple):
    utt: str
    first: int
    last: int
    label: str
    context: str
    speaker: str


@dataclass(frozen=True)
class PhoneItems:
    """The items, what their numbers mean, and what was left out."""

    items: Items
    phones: tuple[str, ...]
    speakers: tuple[str, ...]
    num_utterances: int
    without_frames: int  # segments so short that no frame's centre lies in them
    without_speaker: int  # utterances


def find_items(
    source: FrameSource,
    segments: Mapping[str, Segments],
    speakers: Mapping[str, str] | None,
    context: str,
    silences: Iterable[str] = SILENCES,
) -> PhoneItems:
    """Every phone but silences, sorted by utterance; without `speakers` all are taken for one speaker's."""
    quiet, found, short, nameless = set(silences), [], 0, 0
    utts = sorted(set(segments) & set(source.places))
    if not utts:
        raise FeatureError(
            f"the phone times are of none of the {len(source.places)} utterances of "
            f"{source.folder / source.split}; are they of the same split?"
        )
    pieces = []
    for utt in utts:
        speaker = "" if speakers is None else speakers.get(utt, "")
        if speakers is not None and not speaker:
            nameless += 1
            continue
        frames = source[utt]
        for phone in _phones(utt, segments[utt], source, speaker, context, quiet):
            last = min(phone.last, len(frames))
            if phone.first >= last:
                short += 1
                continue
            pieces.append(np.asarray(frames[phone.first : last]))
            found.append(phone)
    if not found:
        raise FeatureError(
            f"no frame of {source.folder / source.split} lies in a phone of an utterance whose speaker is "
            f"known ({len(utts)} utterances, {nameless} without a speaker, {short} phones without a frame)"
        )
    names = [_numbered([getattr(phone, name) for phone in found]) for name in ("label", "context", "speaker")]
    sizes = np.array([len(piece) for piece in pieces], dtype=np.int64)
    items = Items(np.concatenate(pieces), sizes.cumsum() - sizes, sizes, *(numbers for _, numbers in names))
    return PhoneItems(items, names[0][0], names[2][0], len(utts) - nameless, short, nameless)


def with_vectors(found: PhoneItems, source: FrameSource, checkpoint: str | Path) -> PhoneItems:
    """The items with the quantizer's vectors instead of codes; those of <unk> are zero."""
    import torch

    from ..checkpoints.travel import comes_from
    from ..tokenizer import Tokenizer

    made_by = source.about.get("checkpoint", {}).get("sha256")
    if made_by is not None and not comes_from(checkpoint, made_by):
        raise ValueError(f"{source.folder}: was not made by {checkpoint}; give the checkpoint that made it")
    codes = found.items.frames  # [F, G]
    known = (codes >= 0).all(1)
    vectors = Tokenizer.load(checkpoint).decode(torch.from_numpy(codes[known]).long()).cpu().numpy()
    frames = np.zeros((len(codes), vectors.shape[1]), dtype=np.float32)  # [F, C]
    frames[known] = vectors
    return replace(found, items=replace(found.items, frames=frames))


def _phones(
    utt: str, segments: Segments, source: FrameSource, speaker: str, context: str, quiet: set[str]
) -> Iterable[_Phone]:
    labels = [_SILENCE if label in quiet else label for label in segments.labels]
    for i, label in enumerate(labels):
        if segments.labels[i] in quiet:
            continue
        before = after = _SILENCE
        if i and segments.starts[i] - segments.ends[i - 1] < _GAP:
            before = labels[i - 1]
        if i + 1 < len(labels) and segments.starts[i + 1] - segments.ends[i] < _GAP:
            after = labels[i + 1]
        around = f"{before}\t{after}" if context == "triphone" else ""
        first, last = source.span(float(segments.starts[i]), float(segments.ends[i]))
        yield _Phone(utt, first, last, label, around, speaker)


def _numbered(names: list[str]) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    different, numbers = np.unique(np.array(names), return_inverse=True)
    return tuple(different.tolist()), numbers.astype(np.int64)


def _codes(symbol: str, folder: Path) -> list[int]:
    parts = symbol.split("-")
    if not all(part.isdecimal() and len(part) < 9 for part in parts):
        raise FeatureError(f"{folder / DICT}: symbol {symbol!r} is not a code; expected one such as '12-207'")
    return [int(part) for part in parts]
