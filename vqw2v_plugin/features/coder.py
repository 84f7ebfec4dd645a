"""wav → tokens of one clip, whatever makes them: a network's quantizer, or the clusters of a layer.

Shapes: S samples, T frames, C channels, G groups.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoints.kinds import Restored
from ..checkpoints.wav2vec import Loaded
from ..modules.bert.network import Bert
from ..modules.bert.speech import SpeechBert
from ..modules.layers.conv_spec import ConvGeometry
from ..modules.wav2vec.long_clips import MEMORY
from ..modules.wav2vec2.network import Wav2Vec2
from .base import FeatureOptions, Features, Layer
from .codes import ClipEncoder, precision, quantizer_of, vectors_of


class Coder(ABC):
    """One clip at a time, or as many as fit together."""

    sample_rate: int  # Hz
    normalize: bool  # each clip at zero mean and unit variance first
    geometry: ConvGeometry  # of the frames
    num_groups: int
    num_codes: int  # in each group
    out_dim: int  # C of what codes stand for
    layer: str  # that is quantized
    module: nn.Module  # all that moves to a device
    numbers: str  # fp32, or bf16 or tf32 for products
    learns: bool = False  # what follows the codes

    @abstractmethod
    def codes(self, wav: Tensor) -> Tensor:  # [S] → [T, G]
        """Without gradient."""

    def fits(self, samples: Sequence[int]) -> bool:
        """Whether clips of so many samples are best given to `codes_of` together."""
        return False

    def codes_of(self, clips: Sequence[Tensor]) -> list[Tensor]:  # [S] → [T, G] each
        """Of clips that fit, wherever these lie: nothing waits for the device."""
        raise NotImplementedError

    @abstractmethod
    def vectors(self, codes: Tensor) -> Tensor:  # [B, T, G] → [B, T, C]
        """What they stand for."""

    def precision(self, like: Tensor) -> contextlib.AbstractContextManager[object]:
        """For what follows the codes."""
        return precision(like.device, self.numbers, self.learns)

    @abstractmethod
    def refresh(self) -> None:
        """The weights, or their device, are others now."""

    @abstractmethod
    def allow(self, memory: int) -> None:
        """Bytes of one layer's outputs: beyond it they are computed twice."""

    @abstractmethod
    def quantizes(self, wav: Tensor) -> Tensor:  # [S] → [T, D]
        """The features whose frames get codes, without gradient."""

    @torch.no_grad()
    def quantized(self, wav: Tensor) -> Tensor:  # [S] → [T, C]
        return self.vectors(self.codes(wav)[None])[0]

    @torch.no_grad()
    def quantized_of(self, clips: Sequence[Tensor]) -> list[Tensor]:  # [S] → [T, C] each
        return vectors_of(self.codes_of(clips), self.vectors)


class NetworkCoder(Coder):
    """A vq_wav2vec with a quantizer."""

    def __init__(
        self,
        loaded: Loaded,
        dtype: str | torch.dtype = "fp32",
        memory: int = MEMORY,
        wanted: str = "codes",
        remedy: str = "",
    ) -> None:
        """`wanted`: what a message says that a network without a quantizer has none of."""
        self.quantizer = quantizer_of(loaded.network, wanted, remedy)
        self.module, self.clips = loaded.network, ClipEncoder(loaded, dtype, memory)
        self.sample_rate, self.normalize = loaded.sample_rate, loaded.normalize
        self.geometry, self.out_dim = loaded.network.encoder.geometry, self.quantizer.out_dim
        self.num_groups, self.num_codes = self.quantizer.num_groups, self.quantizer.num_codes
        self.numbers = self.clips.numbers
        self.layer = "c" if loaded.network.quantize_context else "z"

    def codes(self, wav: Tensor) -> Tensor:
        return self.clips.codes(wav)

    def fits(self, samples: Sequence[int]) -> bool:
        return self.clips.fits(samples)

    def codes_of(self, clips: Sequence[Tensor]) -> list[Tensor]:
        return self.clips.codes_of(clips)

    def vectors(self, codes: Tensor) -> Tensor:
        return self.quantizer.decode(codes)

    @torch.no_grad()
    def quantizes(self, wav: Tensor) -> Tensor:
        z = self.clips.z(wav)
        return self.clips.context(z) if self.layer == "c" else z

    def refresh(self) -> None:
        self.clips.refresh()

    def allow(self, memory: int) -> None:
        self.clips.memory = memory


class CoderFeatures(Features):
    """What layers over codes share."""

    def __init__(self, coder: Coder, layer: Layer, dim: int, dtype: str = "fp32", **described: Any) -> None:
        described |= {"dtype": dtype, "normalize": coder.normalize}
        super().__init__(layer, coder.sample_rate, coder.geometry, dim, **described)
        self.coder, self.network = coder, coder.module

    def refresh(self) -> None:
        self.coder.refresh()

    def allow(self, memory: int) -> None:
        self.coder.allow(memory)

    def fits(self, samples: Sequence[int]) -> bool:
        return not self.coder.learns and self.coder.fits(samples)


class QuantizedFeatures(CoderFeatures):
    """q, the vectors that the codes stand for."""

    def __init__(self, coder: Coder, dtype: str = "fp32") -> None:
        super().__init__(coder, Layer("q"), coder.out_dim, dtype)

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [T, C]
        return self.coder.quantized(wav)

    @torch.no_grad()
    def together(self, clips: Sequence[Tensor]) -> list[Tensor]:
        return self.coder.quantized_of(clips)

    def let_learn(self) -> list[nn.Module]:
        raise ValueError("layer `q` is a table of vectors: leave `freeze_updates` at -1, or take z or c")


class Parts(ABC):
    """The networks that a layer may be of, read when it asks for them."""

    @abstractmethod
    def network(self) -> Loaded:
        """A vq_wav2vec."""

    @abstractmethod
    def coder(self, wanted: str, remedy: str = "; take z or c") -> Coder:
        """What makes codes; a network without a quantizer has none of what is `wanted`."""

    @abstractmethod
    def bert(self) -> Bert:
        """A BERT over the codes."""

    @abstractmethod
    def wav2vec2(self) -> Restored[Wav2Vec2]:
        """A wav2vec 2.0, and the audio that it expects."""

    @abstractmethod
    def speech(self) -> Restored[SpeechBert]:
        """A BERT over speech, and the audio that it expects."""


def quantized_features(layer: Layer, options: FeatureOptions, parts: Parts) -> QuantizedFeatures:
    return QuantizedFeatures(parts.coder("layer 'q'"), options.dtype)
