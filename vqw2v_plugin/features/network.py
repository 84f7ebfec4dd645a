"""wav → z or c: the features that a vq_wav2vec itself has.

Shapes: S samples, T frames, C channels, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoints.wav2vec import Loaded
from ..modules.wav2vec.long_clips import MEMORY
from .base import FeatureOptions, Features, Layer
from .coder import Parts
from .codes import ClipEncoder


class NetworkFeatures(Features):
    """What layers over a vq_wav2vec share: its way through a clip. In bf16 or TF32 its convolutions are."""

    def __init__(
        self,
        loaded: Loaded,
        layer: Layer,
        dim: int,
        dtype: str = "fp32",
        memory: int = MEMORY,
        **described: Any,
    ) -> None:
        network = loaded.network
        described |= {"dtype": dtype, "normalize": loaded.normalize}
        super().__init__(layer, loaded.sample_rate, network.encoder.geometry, dim, **described)
        self.network = network
        self.clips = ClipEncoder(loaded, dtype, memory)

    def refresh(self) -> None:
        self.clips.refresh()

    def allow(self, memory: int) -> None:
        self.clips.memory = memory

    def fits(self, samples: Sequence[int]) -> bool:
        return self.clips.fits(samples)

    def let_learn(self) -> list[nn.Module]:
        self.clips.learning = tuple(self._learners())
        return list(self.clips.learning)

    def _learners(self) -> list[nn.Module]:
        raise NotImplementedError


class EncoderFeatures(NetworkFeatures):
    """z."""

    def __init__(self, loaded: Loaded, dtype: str = "fp32", memory: int = MEMORY) -> None:
        super().__init__(loaded, Layer("z"), loaded.network.encoder.dim, dtype, memory)

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [T, C]
        return self.clips.z(wav)

    def together(self, clips: Sequence[Tensor]) -> list[Tensor]:
        return self.clips.z_of(clips)

    def _learners(self) -> list[nn.Module]:
        return [self.network.encoder]


class ContextFeatures(NetworkFeatures):
    """c; where it is made of quantized vectors no gradient passes these."""

    def __init__(self, loaded: Loaded, dtype: str = "fp32", memory: int = MEMORY) -> None:
        network = loaded.network
        super().__init__(loaded, Layer("c"), network.context.dim, dtype, memory)
        self.from_codes = network.has_codes and not network.quantize_context

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [T, D]
        return self.clips.context(self.clips.quantized(wav) if self.from_codes else self.clips.z(wav))

    @torch.no_grad()
    def together(self, clips: Sequence[Tensor]) -> list[Tensor]:
        return self.clips.contexts_of(
            self.clips.quantized_of(clips) if self.from_codes else self.clips.z_of(clips)
        )

    def fits(self, samples: Sequence[int]) -> bool:
        return self.clips.fits(samples, context=True)

    def _learners(self) -> list[nn.Module]:
        context = self.network.context
        return [context] if self.from_codes else [self.network.encoder, context]


def encoder_features(layer: Layer, options: FeatureOptions, parts: Parts) -> EncoderFeatures:
    return EncoderFeatures(parts.network(), options.dtype, options.memory)


def context_features(layer: Layer, options: FeatureOptions, parts: Parts) -> ContextFeatures:
    return ContextFeatures(parts.network(), options.dtype, options.memory)
