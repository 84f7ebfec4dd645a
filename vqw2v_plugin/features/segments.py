"""wav → segments: a layer's frames without silence, one row for each run of a cluster or for each given span.

This is what wav2vec-U's generator hears (Baevski et al. 2021, https://arxiv.org/abs/2105.11084, section 3).
Shapes: S samples, T frames, N segments, F features of the layer, D of a row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..audio.clip import Clip
from ..audio.reading import AudioError, Samples
from ..audio.silence import check_detector, without_silence
from ..checkpoints.clusters import ClusterNetwork, load_clusters
from ..checkpoints.files import CheckpointError, checkpoint_hash
from ..checkpoints.kinds import Restored
from ..corpora.ctm import Segments
from ..corpora.manifest import Utterance
from ..modules.layers.segments import means_of, pair_means, run_places, span_means
from ..modules.quantizers.clusters import Clusters
from ..stores.feature_spec import FeatureSpec, FileId
from .base import Features, need_a_frame
from .over import FeaturesOver
from .prepared import PreparedFeatures
from .principal import FilePrincipal

_SAME = ("layer", "checkpoint", "bert", "pieces", "run_length", "bands", "sample_rate", "dim", "normalize")
Spans = Mapping[str, Segments]  # of each utterance


class SpokenFeatures(FeaturesOver):
    """A layer's frames of what is said in a clip: what segments and components are made of."""

    def __init__(self, features: Features, silence: str) -> None:
        check_detector(silence)
        super().__init__(features)
        self.silence = silence
        self.spec = dataclasses.replace(features.spec, silence=None if silence == "keep" else silence)

    @property
    def varies(self) -> bool:
        return self.silence != "keep" or self.features.varies

    def said(self, wav: Samples, name: str) -> Samples:
        """Refuses a clip in which nothing is left for a frame, by name."""
        found = without_silence(wav, self.sample_rate, self.silence)
        need_a_frame(len(found), self.sample_rate, self.geometry, f"{name}, without its silence")
        return found

    @torch.no_grad()
    def of_read(self, wav: Samples, clip: Clip) -> Tensor:  # [S] → [T, F]
        return self.features.of_read(self.said(wav, clip.path), clip)

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [T, F]
        said = self.said(wav.cpu().numpy(), "the audio")
        return self.features(torch.from_numpy(said).to(wav.device))  # type: ignore[no-any-return]


class SegmentFeatures(SpokenFeatures):
    """One row for each run of frames of one cluster, for each given span, or for each frame.

    It stands on what is said, perhaps prepared; clusters are of the layer's own frames.
    """

    def __init__(
        self,
        features: SpokenFeatures | PreparedFeatures,
        clusters: str | None = None,
        pairs: bool = True,
        spans: Spans | None = None,
        principal: FilePrincipal | None = None,
    ) -> None:
        super().__init__(features, "keep")  # the silence is gone
        self.prepared = features if isinstance(features, PreparedFeatures) else None
        self.plain = features.features if isinstance(features, PreparedFeatures) else features
        self.spans, self.pairs = spans, clusters is not None and pairs
        self.clusters = None if clusters is None else _clusters(clusters, self.plain.spec)
        if spans is not None and (clusters is not None or not features.spec.has_times):
            raise ValueError(
                "`--spans` are times of the whole audio, and rows of their own: with them `--silence` is "
                "keep, and there are no `--clusters`"
            )
        described: dict[str, Any] = {"silence": features.spec.silence}
        if principal is not None:
            principal.check(features.spec)
            described["pca"] = principal.file
        self.principal = None if principal is None else principal.network
        if clusters is not None:
            described["clusters"] = FileId(Path(clusters).name, checkpoint_hash(clusters))
        if spans is not None or clusters is not None:
            described["segments"] = "runs" if spans is None else "spans"
        self.dim = self.dim if principal is None else len(principal.network.axes)
        self.spec = dataclasses.replace(
            self.spec, **described, dim=self.dim, pooled=2 if self.pairs else None
        )

    @property
    def varies(self) -> bool:
        return self.spec.segments is not None or self.features.varies

    @torch.no_grad()
    def of_read(self, wav: Samples, clip: Clip) -> Tensor:  # [S] → [N, D]
        frames = self.plain.of_read(wav, clip)
        x = frames if self.prepared is None else self.prepared.prepare(frames, clip)
        return self._rows(frames.float(), x.float(), clip)

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [N, D]
        clip = Clip("the audio")
        return self.of_read(wav.cpu().numpy(), clip)

    def _rows(self, frames: Tensor, x: Tensor, clip: Clip) -> Tensor:  # [T, F], [T, F'] → [N, D]
        if self.spans is not None:
            x = span_means(x, *self._frames_of(clip))
        elif self.clusters is not None:
            x = means_of(x, run_places(self.clusters.encode(frames)))
        if self.principal is not None:
            x = self.principal(x)  # of the means: it is linear
        return pair_means(x) if self.pairs else x

    def _frames_of(self, clip: Clip) -> tuple[Tensor, Tensor]:
        """The frames whose centres lie in each span: first and end of each."""
        utt = clip.utt if isinstance(clip, Utterance) else None
        found = None if utt is None or self.spans is None else self.spans.get(utt)
        if found is None or not len(found.labels):
            raise AudioError(f"{utt or 'the audio'}: has no spans in the file of `--spans`; leave it out")
        half = self.receptive_field / 2
        edges = [
            np.ceil((times * self.sample_rate - half) / self.stride - 1e-6)
            for times in (found.starts, found.ends)
        ]
        firsts, ends = (torch.from_numpy(edge.astype(np.int64)) for edge in edges)
        return firsts, ends


def _clusters(path: str, spec: FeatureSpec) -> Clusters:
    """Centres of the very layer whose frames they are to tell apart."""
    restored: Restored[ClusterNetwork] = load_clusters(path)
    try:
        made_of = FeatureSpec.from_json(restored.header.made_from.get("features") or {})
    except ValueError as error:
        raise CheckpointError(f"{path}: what it says of its features is damaged: {error}") from None
    for name in _SAME:
        theirs, ours = made_of.meaning(name), spec.meaning(name)
        if theirs != ours:
            raise CheckpointError(
                f"{path}: its clusters are of features whose `{name}` is {theirs!r}; those asked for have "
                f"{ours!r}: make clusters of this layer with `vqw2v cluster`"
            )
    return restored.network.clusters
