"""wav → states or tokens of a wav2vec 2.0, one clip at a time; nothing is masked.

Shapes: S samples, T frames, C channels, D features, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints.kinds import Audio, Restored
from ..modules.kernels import devices
from ..modules.kernels.rounding import exact
from ..modules.wav2vec2.long_clips import heard_in_pieces, states_of_clip
from ..modules.wav2vec2.network import Wav2Vec2
from ..modules.wav2vec2.targets import quantize
from .base import FeatureOptions, Features, Layer, number_format
from .coder import Coder, Parts
from .codes import NoCodesError, precision
from .together import fit_side_by_side, side_by_side


class Wav2Vec2Features(Features):
    """The N-th layer's states. In bf16 or TF32 the network's products are."""

    def __init__(self, restored: Restored[Wav2Vec2], layer: Layer, dtype: str = "fp32") -> None:
        network, audio = restored.network, restored.header.audio or Audio()
        number, layers = -1 if layer.number is None else layer.number, network.config.encoder_layers
        if not -layers - 1 <= number <= layers:
            raise ValueError(
                f"layer `{layer}`: this wav2vec 2.0 has the layers 0 (what its first hears) to {layers}, "
                f"or -1 for the last"
            )
        super().__init__(
            layer,
            audio.sample_rate,
            network.encoder.geometry,
            network.config.encoder_embed_dim,
            dtype=dtype,
            normalize=audio.normalize,
        )
        self.network, self.normalize, self.learns = network, audio.normalize, False
        self.number = number if number >= 0 else layers + 1 + number
        self.numbers = number_format(dtype)

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [T, D]
        wav = F.layer_norm(wav, wav.shape) if self.normalize else wav
        with precision(wav.device, self.numbers, self.learns):
            if self.learns and torch.is_grad_enabled():
                return self.network.states(wav[None], depth=self.number)[0][-1].float()
            return states_of_clip(self.network, wav, self.number).float()

    def fits(self, samples: Sequence[int]) -> bool:
        return not self.learns and _fit(self.network, samples)

    @torch.no_grad()
    def together(self, clips: Sequence[Tensor]) -> list[Tensor]:
        wav, lengths = side_by_side(clips, self.normalize, self.device)
        with precision(wav.device, self.numbers, False):
            states, frames = self.network.states(wav, lengths, self.number)
        return list(torch.split(states[-1].float(), list(frames)))

    def let_learn(self) -> list[nn.Module]:
        self.learns = True
        network = self.network
        layers = network.transformer.layers[: self.number]
        parts = [network.encoder, network.norm, network.projection, network.transformer.positions, *layers]
        if not network.config.layer_norm_first or self.number == len(network.transformer.layers):
            parts.append(network.transformer.norm)
        return [part for part in parts if part is not None]


class Wav2Vec2Coder(Coder):
    """Its quantizer's codes: of what training tells apart, masked or not."""

    layer = "z"

    def __init__(
        self,
        restored: Restored[Wav2Vec2],
        dtype: str | torch.dtype = "fp32",
        wanted: str = "codes",
        remedy: str = "",
    ) -> None:
        network, audio = restored.network, restored.header.audio or Audio()
        if not network.has_codes:
            raise NoCodesError(f"this wav2vec 2.0 has no quantizer, so it has no {wanted}{remedy}")
        self.network = self.module = network
        self.sample_rate, self.normalize = audio.sample_rate, audio.normalize
        self.geometry, self.out_dim = network.encoder.geometry, network.coder.out_dim
        self.num_groups, self.num_codes = network.coder.num_groups, network.coder.num_codes
        self.numbers = number_format(dtype)

    @torch.no_grad()
    def codes(self, wav: Tensor) -> Tensor:  # [S] → [T, G]
        z = self.quantizes(wav)
        with exact(wav.device):  # close codes are no ties
            return self.network.coder.encode(z[None])[0]

    def fits(self, samples: Sequence[int]) -> bool:
        return _fit(self.network, samples)

    @torch.no_grad()
    def codes_of(self, clips: Sequence[Tensor]) -> list[Tensor]:
        wav, lengths = side_by_side(clips, self.normalize, self.network.mask.device)
        with precision(wav.device, self.numbers, False):
            heard = self.network.hear(wav, lengths)
        with exact(wav.device):
            codes = quantize(self.network.coder, heard.z.float(), heard.frames).codes[0]
        return list(torch.split(codes, list(heard.frames)))

    def vectors(self, codes: Tensor) -> Tensor:
        return self.network.coder.decode(codes)

    @torch.no_grad()
    def quantizes(self, wav: Tensor) -> Tensor:
        wav = F.layer_norm(wav, wav.shape) if self.normalize else wav
        with precision(wav.device, self.numbers, False):
            return heard_in_pieces(self.network, wav).z.float()

    def refresh(self) -> None:
        """Nothing is kept of the weights."""

    def allow(self, memory: int) -> None:
        """Pieces are of a fixed size."""


def _fit(network: Wav2Vec2, samples: Sequence[int]) -> bool:
    return devices.is_gpu(network.mask) and fit_side_by_side(samples)


def wav2vec2_features(layer: Layer, options: FeatureOptions, parts: Parts) -> Wav2Vec2Features:
    return Wav2Vec2Features(parts.wav2vec2(), layer, options.dtype)
