"""What is fed to whatever learns labels: layers of several folders side by side, splits behind each other.

Shapes: T frames, L layers, D features of a layer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...features.speakers import RowClip
from ...stores.feature_spec import FeatureSpec
from ...stores.features import FEATURES, FeatureError
from .base import digest_of
from .labelled import FeatureSource, Input, Source, input_dim, input_spec, open_source


class SeveralSources:
    """One split of several feature folders, which must be of the same utterances and frames."""

    def __init__(self, sources: Sequence[FeatureSource]) -> None:
        self.sources, first = sources, sources[0]
        self.name, self.utts, self.sizes = first.name, first.utts, first.sizes
        for other in sources[1:]:
            if other.utts != first.utts:
                raise FeatureError(
                    f"{other.name}: its utterances are not those of {first.name}; make both from one manifest"
                )
            if not np.array_equal(other.sizes, first.sizes):
                row = int(np.flatnonzero(other.sizes != first.sizes)[0])
                raise FeatureError(
                    f"{other.name}: {other.utts[row]} has {other.sizes[row]} frames, and {first.sizes[row]} "
                    f"in {first.name}; layers are mixed frame by frame: take those of one network"
                )

    def read(self, index: int) -> Input:  # [T, L · D]
        return np.concatenate([source.read(index) for source in self.sources], axis=1)

    @property
    def says_who(self) -> bool:
        return False

    def clip(self, index: int) -> RowClip:
        return self.sources[0].clip(index)

    def digest(self) -> str:
        return digest_of(*(source.digest() for source in self.sources))


class JoinedSplits:
    """Several splits as one."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.name = ",".join([sources[0].name, *(Path(source.name).name for source in sources[1:])])
        self.utts = [utt for source in sources for utt in source.utts]
        self.sizes = np.concatenate([source.sizes for source in sources])
        self._begins = np.cumsum([0, *(len(source.utts) for source in sources)])

    def read(self, index: int) -> Input:
        source, row = self._place(index)
        return source.read(row)

    @property
    def says_who(self) -> bool:
        return all(source.says_who for source in self.sources)

    def clip(self, index: int) -> RowClip:
        source, row = self._place(index)
        return source.clip(row)

    def _place(self, index: int) -> tuple[Source, int]:
        number = int(np.searchsorted(self._begins, index, side="right")) - 1
        return self.sources[number], index - int(self._begins[number])

    def digest(self) -> str:
        return digest_of(*(source.digest() for source in self.sources))


def joined(sources: Sequence[Source]) -> Source:
    return sources[0] if len(sources) == 1 else JoinedSplits(sources)


def folders_of(data: str) -> list[str]:
    """`FOLDER`, or several by colons."""
    return [data] if os.path.exists(data) else [part for part in data.split(os.pathsep) if part] or [data]


def open_sources(folders: Sequence[str], split: str, sample_rate: int) -> Source:
    """Of one folder whatever it holds, of several their features."""
    sources = [open_source(folder, split, sample_rate) for folder in folders]
    if len(sources) == 1:
        return sources[0]
    return SeveralSources([source for source in sources if isinstance(source, FeatureSource)])


def layer_specs(folders: Sequence[str], sample_rate: int) -> list[FeatureSpec]:
    """What each folder says of its features; of audio there is one."""
    for folder in folders if len(folders) > 1 else []:
        if not FEATURES.splits(folder):
            raise FeatureError(
                f"data={folder}: holds no features; of several folders each holds those of a layer "
                "(`vqw2v features`), audio is in one folder"
            )
    return [input_spec(folder, sample_rate) for folder in folders]


def layer_dim(folders: Sequence[str]) -> int:
    """D, which layers that are mixed have in common; 0 of audio."""
    dims = {folder: input_dim(folder) for folder in folders}
    for folder, dim in dims.items():
        if dim != dims[folders[0]]:
            raise FeatureError(
                f"data={folder}: has {dim} features a frame, {Path(folders[0])} has {dims[folders[0]]}; "
                "layers that are mixed are of one size"
            )
    return dims[folders[0]]
