"""wav → features for whole manifests: what `vqw2v features` does, with the guarantees of `discretize`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..audio.reading import AudioError, Samples
from ..common.locks import Rank
from ..corpora.manifest import Manifest, Utterance
from ..features.base import Features, need_a_frame
from ..features.speakers import ManifestVoices
from ..features.together import to_processor
from ..stores.features import FEATURES, gather_features
from ..stores.shards import Rows
from .split_job import Encoder, JobOptions, Outcome, SplitJob
from .work import Heard

STORES: dict[str, type[np.floating[Any]]] = {"fp16": np.float16, "fp32": np.float32}


@dataclass(frozen=True)
class FeaturizeOptions(JobOptions):
    """What may be asked for beside the source of the features, the manifest and the folder."""

    store: str = "fp16"


def featurize(
    features: Features,
    manifest: Manifest,
    out: str,
    options: FeaturizeOptions,
    rank: Rank,
) -> Outcome:
    """Makes OUT/SPLIT.npy, .ends.npy and .ids and features.json, which says what they are."""
    return FeaturizeJob(features, manifest, Path(out), options).run(rank)


class FeaturizeJob(SplitJob):
    """Shards of features → the split's files."""

    format = FEATURES
    gathers = True

    def __init__(
        self,
        features: Features,
        manifest: Manifest,
        out: Path,
        options: FeaturizeOptions,
        of_split: Mapping[str, Any] | None = None,
    ) -> None:
        """`of_split`: what the json says of this split besides."""
        if options.store not in STORES:
            raise ValueError(f"`--store` is {options.store!r}; expected {' or '.join(STORES)}")
        self._features, self._kind = features, STORES[options.store]
        features.know(ManifestVoices(manifest))
        spec = dataclasses.replace(features.spec, device=features.device.type, store=options.store)
        encoder = Encoder(self._kind, features.dim, features.sample_rate, features.device)
        of_split = {"manifest_sha256": manifest.digest, **(of_split or {})}
        super().__init__(out, manifest, options, encoder, spec.to_json(), of_split)

    def encode(self, utterance: Utterance) -> Rows:  # [T, D]
        return self._stored(self._features.of(utterance), utterance)

    def encode_read(self, utterance: Utterance, audio: Samples) -> Rows:
        return self._stored(self._features.of_read(audio, utterance), utterance)

    def fits(self, samples: Sequence[int]) -> bool:
        return self._features.fits(samples)

    def begin(self, heard: Heard) -> Callable[[], list[Rows]]:
        for utterance, audio in heard:
            need_a_frame(len(audio), self._features.sample_rate, self._features.geometry, utterance.path)
        found = self._features.of_many([(audio, utterance) for utterance, audio in heard])
        utterances = [utterance for utterance, _ in heard]
        return lambda: [self._stored(x, u) for x, u in zip(to_processor(found), utterances, strict=True)]

    def _stored(self, found: Tensor, utterance: Utterance) -> Rows:
        with np.errstate(over="ignore"):
            rows: Rows = found.cpu().numpy().astype(self._kind)
        if not np.isfinite(rows.sum(dtype=np.float64)):
            raise AudioError(f"{utterance.path}: gives features beyond the range of fp16; say `--store fp32`")
        return rows

    def merge(self) -> None:
        frames = [n for span in self.spans for n in self.shards.whole(span.index).frames]
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
