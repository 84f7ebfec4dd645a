"""states ──acoustic model──▶ letters, what goes in: features of a feature folder, or the wav of a manifest.

Shapes: T frames of D features, S samples.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..audio.reading import read_audio
from ..corpora.manifest import Manifest
from ..stores.features import FeatureError, FeatureStore, feature_splits, read_features_about
from .audio_dataset import probe_rate

Input = npt.NDArray[np.float32]  # [T, D] or [S]


class Source(Protocol):
    """One split: utterances by number; `sizes` are in frames or samples."""

    name: str
    utts: list[str]
    sizes: npt.NDArray[np.int64]

    def read(self, index: int) -> Input: ...


class FeatureSource:
    """A feature folder's split, mapped from the disk."""

    def __init__(self, folder: str | os.PathLike[str], split: str) -> None:
        self.store = FeatureStore(folder, split)
        self.name = os.fspath(Path(folder) / split)
        self.utts = [utt for utt, _ in self.store.rows]
        self.sizes = self.store.sizes

    def read(self, index: int) -> Input:
        return np.array(self.store[index], np.float32)  # [T, D], a copy that may be written to


class AudioSource:
    """A manifest's utterances, whole, at `sample_rate`."""

    def __init__(self, manifest: Manifest, sample_rate: int) -> None:
        self.manifest, self.sample_rate = manifest, sample_rate
        self.name = manifest.path
        self.utts = [manifest[i].utt for i in range(len(manifest))]
        rates = probe_rate(manifest) if manifest.rates is None else manifest.rates
        self.sizes = manifest.sizes * sample_rate // rates

    def read(self, index: int) -> Input:
        u = self.manifest[index]
        return read_audio(u.path, self.sample_rate, u.start, u.samples, rate=u.rate)


def open_source(folder: str | os.PathLike[str], split: str, sample_rate: int) -> FeatureSource | AudioSource:
    """Features where the folder has any, else the audio of its SPLIT.tsv."""
    path = Path(folder) / f"{split}.tsv"
    if feature_splits(folder):
        return FeatureSource(folder, split)
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in Path(folder).glob("*.tsv"))) or "none"
        raise FeatureError(
            f"data={folder}: holds neither features nor {path.name} (the manifests there are: {there}); name "
            "one of these splits, or make features with `vqw2v features`, or a manifest with `vqw2v manifest`"
        )
    return AudioSource(Manifest(path), sample_rate)


def input_dim(folder: str | os.PathLike[str]) -> int:
    """D of a feature folder; 0 of a folder of manifests, whose audio has none."""
    there = feature_splits(folder)
    return FeatureStore(folder, there[0]).dim if there else 0


def input_stamp(folder: str | os.PathLike[str], sample_rate: int) -> dict[str, Any]:
    """What the input is: what features.json says but for its splits, or the rate of the audio."""
    if not feature_splits(folder):
        return {"sample_rate": sample_rate}
    return {key: value for key, value in read_features_about(folder).items() if key != "splits"}
