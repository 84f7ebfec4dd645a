"""wav → log-mel energies or cepstra, what acoustic models had before z.

Shapes: S samples, T frames, D bands or cepstra.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..modules.kernels import devices
from ..modules.layers.conv_spec import ConvGeometry
from ..modules.layers.spectrum import LogMel
from .base import DEFAULT_BANDS, FeatureOptions, Features, Layer
from .coder import Parts
from .together import SAMPLES, to_device


class SpectralFeatures(Features):
    """Log-mels or cepstra, on the device of the audio."""

    def __init__(self, layer: Layer, sample_rate: int, num_bands: int = DEFAULT_BANDS) -> None:
        make = partial(LogMel, sample_rate, num_bands, num_cepstra=layer.number)
        mel = make()
        geometry = ConvGeometry(mel.receptive_field, mel.stride)
        super().__init__(layer, sample_rate, geometry, mel.dim, bands=num_bands)
        self._make, self._made = make, {self.device: mel}

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [T, D]
        return self._mel_on(wav.device)(wav)

    def _mel_on(self, device: torch.device) -> LogMel:
        if device not in self._made:
            self._made[device] = self._make(device=device)
        return self._made[device]

    def together(self, clips: Sequence[Tensor]) -> list[Tensor]:
        return self._mel_on(self.device).of_many(to_device(clips, self.device))

    def fits(self, samples: Sequence[int]) -> bool:
        return devices.is_gpu(torch.empty(0, device=self.device)) and sum(samples) <= SAMPLES

    def let_learn(self) -> list[nn.Module]:
        raise ValueError("log-mels and cepstra have nothing to learn; leave `freeze_updates` at -1")


def spectral_features(layer: Layer, options: FeatureOptions, parts: Parts) -> SpectralFeatures:
    return SpectralFeatures(layer, options.sample_rate, options.bands)
