"""wav → tokens: the clusters of any layer's frames as a coder like any other, and coders from files.

Shapes: S samples, T frames, D features, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoints.bert import load_bert
from ..checkpoints.clusters import KIND, ClusterNetwork
from ..checkpoints.files import CheckpointError
from ..checkpoints.finetuned import KIND as FINE_TUNED
from ..checkpoints.finetuned import heard_by
from ..checkpoints.format import load, load_any
from ..checkpoints.kinds import Audio, Restored
from ..checkpoints.speech import KIND as SPEECH
from ..checkpoints.wav2vec import KIND as VQ_WAV2VEC
from ..checkpoints.wav2vec import Loaded, load_network, loaded_of
from ..checkpoints.wav2vec2 import KIND as WAV2VEC2
from ..modules.bert.network import Bert
from ..modules.bert.speech import SpeechBert
from ..modules.wav2vec.long_clips import MEMORY
from ..modules.wav2vec2.network import Wav2Vec2
from .base import FeatureOptions, Features, number_format, parse_layer
from .builders import BUILDERS
from .coder import Coder, NetworkCoder, Parts
from .wav2vec2 import Wav2Vec2Coder

CODERS = (VQ_WAV2VEC, WAV2VEC2, KIND)  # whose checkpoints give codes


class ClusterCoder(Coder):
    """What `vqw2v cluster` wrote."""

    def __init__(
        self, restored: Restored[ClusterNetwork], dtype: str | torch.dtype = "fp32", memory: int = MEMORY
    ) -> None:
        network, audio = restored.network, restored.header.audio or Audio()
        settings = network.settings
        self.clusters, self.layer = network.clusters, settings.layer
        options = FeatureOptions(
            settings.layer,
            run_length=settings.run_length,
            bands=settings.bands,
            sample_rate=audio.sample_rate,
            dtype=number_format(dtype),
            memory=memory,
        )
        self.features = _features(options, HeldParts(network, options), settings.dim)
        self.module = nn.ModuleList([self.features, network])
        self.sample_rate, self.normalize = self.features.sample_rate, bool(self.features.spec.normalize)
        self.geometry, self.numbers = self.features.geometry, options.dtype
        self.num_groups, self.num_codes = self.clusters.num_groups, self.clusters.num_codes
        self.out_dim = self.clusters.out_dim

    @torch.no_grad()
    def codes(self, wav: Tensor) -> Tensor:  # [S] → [T, G]
        return self.clusters.encode(self.features(wav))

    def fits(self, samples: Sequence[int]) -> bool:
        return self.features.fits(samples)

    @torch.no_grad()
    def codes_of(self, clips: Sequence[Tensor]) -> list[Tensor]:
        found = [self.clusters.prepare(x) for x in self.features.together(clips)]
        codes = self.clusters.nearest(self.clusters.scaled(torch.cat(found)))
        return list(torch.split(codes, [len(x) for x in found]))

    @torch.no_grad()
    def quantizes(self, wav: Tensor) -> Tensor:
        return self.clusters.scaled(self.clusters.prepare(self.features(wav)))

    def vectors(self, codes: Tensor) -> Tensor:
        return self.clusters.decode(codes)

    def refresh(self) -> None:
        self.features.refresh()

    def allow(self, memory: int) -> None:
        self.features.allow(memory)


def load_coder(
    path: str | Path,
    dtype: str | torch.dtype = "fp32",
    memory: int = MEMORY,
    wanted: str = "codes",
    remedy: str = "",
) -> Coder:
    """A checkpoint of a vq_wav2vec or vq_wav2vec2 with a quantizer, or clusters."""
    return coder_of(load_any(Path(path), *CODERS), dtype, memory, wanted, remedy)


def coder_of(
    restored: Restored[Any],
    dtype: str | torch.dtype = "fp32",
    memory: int = MEMORY,
    wanted: str = "codes",
    remedy: str = "",
) -> Coder:
    if isinstance(restored.network, ClusterNetwork):
        return ClusterCoder(restored, dtype, memory)
    if isinstance(restored.network, Wav2Vec2):
        return Wav2Vec2Coder(restored, dtype, wanted, remedy)
    return NetworkCoder(loaded_of(restored), dtype, memory, wanted, remedy)


class FileParts(Parts):
    """Networks from the files that options name."""

    def __init__(self, options: FeatureOptions) -> None:
        self._options = options

    def network(self) -> Loaded:
        return load_network(str(self._options.checkpoint))

    def coder(self, wanted: str, remedy: str = "; take z or c") -> Coder:
        options = self._options
        return load_coder(str(options.checkpoint), options.dtype, options.memory, wanted, remedy)

    def bert(self) -> Bert:
        return load_bert(str(self._options.bert))

    def wav2vec2(self) -> Restored[Wav2Vec2]:
        return heard_by(load_any(Path(str(self._options.checkpoint)), WAV2VEC2, FINE_TUNED))

    def speech(self) -> Restored[SpeechBert]:
        return load(Path(str(self._options.checkpoint)), SPEECH)


class HeldParts(Parts):
    """Networks that came with the clusters of their layer."""

    def __init__(self, network: ClusterNetwork, options: FeatureOptions) -> None:
        self._network, self._options = network, options

    def network(self) -> Loaded:
        return loaded_of(self._part("checkpoint", VQ_WAV2VEC.model))

    def coder(self, wanted: str, remedy: str = "; take z or c") -> Coder:
        part = self._part("checkpoint", *(kind.model for kind in CODERS))
        return coder_of(part, self._options.dtype, self._options.memory, wanted, remedy)

    def bert(self) -> Bert:
        network: Bert = self._part("bert", "vq_bert").network
        return network

    def wav2vec2(self) -> Restored[Wav2Vec2]:
        return heard_by(self._part("checkpoint", WAV2VEC2.model, FINE_TUNED.model))

    def speech(self) -> Restored[SpeechBert]:
        return self._part("checkpoint", SPEECH.model)

    def _part(self, name: str, *models: str) -> Restored[Any]:
        found = self._network.part(name)
        if found is None or found.header.model not in models:
            holds = "no such part" if found is None else f"a {found.header.model}"
            raise CheckpointError(
                f"clusters of layer {self._network.settings.layer!r} hold {holds} as `{name}`; expected a "
                f"{' or '.join(models)}: make them anew with `vqw2v cluster`"
            )
        return found


def _features(options: FeatureOptions, parts: Parts, dim: int) -> Features:
    layer = parse_layer(options.layer)
    features = BUILDERS[layer.name](layer, options, parts).eval()
    if features.dim != dim:
        raise CheckpointError(
            f"clusters of {dim} features a frame, of which layer {options.layer!r} has {features.dim}; make "
            f"them anew with `vqw2v cluster`"
        )
    return features
