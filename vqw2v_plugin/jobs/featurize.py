"""wav → features for whole manifests: what `vqw2v features` does, with the guarantees of `discretize`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.reading import AudioError
from ..common.locks import Rank
from ..corpora.manifest import Manifest, Utterance
from ..features.spec import NetworkSource, SpectralSource
from ..stores.features import FEATURES, gather_features
from ..stores.shards import Rows, Shard
from .split_job import Encoder, JobOptions, Outcome, SplitJob

STORES: dict[str, type[np.floating[Any]]] = {"fp16": np.float16, "fp32": np.float32}
Source = SpectralSource | NetworkSource


@dataclass(frozen=True)
class FeaturizeOptions(JobOptions):
    """What may be asked for beside the source of the features, the manifest and the folder."""

    store: str = "fp16"


def featurize(
    source: Source,
    described: Mapping[str, Any],
    manifest: Manifest,
    out: str,
    options: FeaturizeOptions,
    rank: Rank,
) -> Outcome:
    """Makes OUT/SPLIT.npy, .ends.npy and .ids and features.json; `described` says there what they are."""
    if options.store not in STORES:
        raise ValueError(f"`--store` is {options.store!r}; expected {' or '.join(STORES)}")
    return FeaturizeJob(source, described, manifest, Path(out), options).run(rank)


class FeaturizeJob(SplitJob):
    """Shards of features → the split's files."""

    format = FEATURES

    def __init__(
        self,
        source: Source,
        described: Mapping[str, Any],
        manifest: Manifest,
        out: Path,
        options: FeaturizeOptions,
    ) -> None:
        self._source, self._kind = source, STORES[options.store]
        model = {
            **described,
            "device": source.device.type,
            "dim": source.dim,
            "receptive_field": source.receptive_field,
            "sample_rate": source.sample_rate,
            "store": options.store,
            "stride": source.stride,
        }
        encoder = Encoder(self._kind, source.dim, source.sample_rate, source.device)
        super().__init__(out, manifest, options, encoder, model, {"manifest_sha256": manifest.digest})

    def encode(self, utterance: Utterance) -> Rows:  # [T, D]
        with np.errstate(over="ignore"):
            rows: Rows = self._source(utterance).numpy().astype(self._kind)
        if not np.isfinite(rows.sum(dtype=np.float64)):
            raise AudioError(f"{utterance.path}: gives features beyond the range of fp16; say `--store fp32`")
        return rows

    def merge(self) -> None:
        frames = [n for span in self.spans for n in (self.shards.read(span.index) or Shard()).frames]
        num_kept = sum(n > 0 for n in frames)
        row = {
            **self.of_split,
            "manifest": Path(self.manifest.path).name,
            "frames": sum(frames),
            "utterances": num_kept,
            "refused": len(frames) - num_kept,
        }
        splits = {**FEATURES.read_about(self.out).get("splits", {}), self.split: row}
        about = {**self.model, "splits": splits}
        utts = (self.name(i) for i, n in enumerate(frames) if n)
        gather_features(self.out, self.split, self.shards, self.spans, utts, about)
