"""wav → segments for whole manifests: what `vqw2v segment` does, with the guarantees of `features`.

Its stages are each resumed where a killed run was: targets beside frames, rows.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..audio.reading import Samples, read_audio
from ..common.locks import Rank
from ..corpora.manifest import Manifest, Utterance
from ..features.segments import SegmentFeatures, SpokenFeatures
from ..stores.frames import FrameTimes
from ..stores.symbols import Codes
from ..tokenizer import Tokenizer
from .discretize import DiscretizeJob, DiscretizeOptions
from .featurize import FeaturizeJob, FeaturizeOptions
from .split_job import Outcome

TARGETS = "targets"  # a token folder in the feature folder


@dataclass(frozen=True)
class SpanFile:
    """The file of the spans of this split, for what features.json says of it."""

    name: str
    sha256: str


class SegmentJob(FeaturizeJob):
    """Shards of rows → the split's files."""

    def __init__(
        self,
        features: SegmentFeatures,
        manifest: Manifest,
        out: Path,
        options: FeaturizeOptions,
        spans: SpanFile | None = None,
    ) -> None:
        of_split = {} if spans is None else {"spans": dataclasses.asdict(spans)}
        super().__init__(features, manifest, out, options, of_split)


class TargetsJob(DiscretizeJob):
    """Codes of the same audio without silence: beside each frame of the features the nearest one."""

    def __init__(
        self,
        features: SpokenFeatures,
        tokenizer: Tokenizer,
        checkpoint: str,
        manifest: Manifest,
        out: Path,
        options: DiscretizeOptions,
    ) -> None:
        if tokenizer.sample_rate != features.sample_rate:
            raise ValueError(
                f"{checkpoint}: hears audio of {tokenizer.sample_rate} Hz, the features' network of "
                f"{features.sample_rate} Hz; expected targets of the same audio: make clusters of that rate"
            )
        self._features = features
        super().__init__(tokenizer, checkpoint, manifest, out / TARGETS, options)
        beside: dict[str, Any] = {
            "stride": features.stride,
            "receptive_field": features.receptive_field,
            "silence": features.silence,
        }
        self.model |= beside
        self.settings |= beside

    def encode(self, utterance: Utterance) -> Codes:  # [T, G]
        return self.encode_read(utterance, read_audio(utterance, self._features.sample_rate))

    def encode_read(self, utterance: Utterance, audio: Samples) -> Codes:
        features = self._features
        said = features.said(audio, utterance.path)
        codes = super().encode_read(utterance, said)
        ours = FrameTimes(features.stride, features.receptive_field, features.sample_rate)
        geometry = self._tokenizer.geometry
        theirs = FrameTimes(geometry.stride, geometry.receptive_field, features.sample_rate)
        nearest = theirs.nearest(ours, 0, features.features.frames(len(said)))
        beside: Codes = codes[nearest.clip(0, len(codes) - 1)]
        return beside


def segment(
    features: SegmentFeatures,
    manifest: Manifest,
    out: str,
    options: FeaturizeOptions,
    rank: Rank,
    spans: SpanFile | None = None,
) -> Outcome:
    """Makes OUT/SPLIT.npy, .ends.npy and .ids and features.json, which says what they are."""
    return SegmentJob(features, manifest, Path(out), options, spans).run(rank)
