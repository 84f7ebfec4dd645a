"""wav ──BERT──▶ states, a row for each joined frame: the features of a BERT over speech.

Shapes: S samples, T joined frames, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints.kinds import Audio, Restored
from ..modules.bert.speech import SpeechBert, SpeechInput
from ..modules.kernels import devices
from .base import FeatureOptions, Features, Layer, number_format
from .coder import Parts
from .codes import precision
from .together import SAMPLES, to_device


class SpeechFeatures(Features):
    """Nothing is masked. In bf16 or TF32 the network's products are; its log-mels are fp32."""

    def __init__(self, restored: Restored[SpeechBert], layer: Layer, dtype: str = "fp32") -> None:
        network, audio = restored.network, restored.header.audio or Audio()
        config = network.config
        number, layers = -1 if layer.number is None else layer.number, len(network.layers)
        if not -layers - 1 <= number <= layers:
            raise ValueError(
                f"layer `{layer}`: this BERT over speech has the layers 0 (its projection) to {layers}, or "
                f"-1 for the last"
            )
        heard = SpeechInput(audio.sample_rate, config.bands, config.stack, config.normalize_bands)
        super().__init__(
            layer,
            audio.sample_rate,
            heard.geometry,
            config.encoder_embed_dim,
            dtype=dtype,
            normalize=audio.normalize,
        )
        self.network, self.number, self.normalize, self.learns = network, number, audio.normalize, False
        self.numbers, self._heard = number_format(dtype), heard

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [T, D]
        return self._states([wav])[0]

    def fits(self, samples: Sequence[int]) -> bool:
        on_gpu = devices.is_gpu(torch.empty(0, device=self.device))
        return on_gpu and not self.learns and sum(samples) <= SAMPLES

    @torch.no_grad()
    def together(self, clips: Sequence[Tensor]) -> list[Tensor]:
        return self._states(to_device(clips, self.device))

    def _states(self, clips: Sequence[Tensor]) -> list[Tensor]:
        if self.normalize:
            clips = [F.layer_norm(wav, wav.shape) for wav in clips]
        frames = self._heard.of_many(clips) if len(clips) > 1 else [self._heard(clips[0])]  # [T, B] each
        sizes = [len(each) for each in frames]
        with precision(frames[0].device, self.numbers, self.learns):
            states = self.network.states(torch.cat(frames), sizes)[self.number].float()
        return list(torch.split(states, sizes))

    def let_learn(self) -> list[nn.Module]:
        self.learns = True
        return [self.network]


def speech_features(layer: Layer, options: FeatureOptions, parts: Parts) -> SpeechFeatures:
    return SpeechFeatures(parts.speech(), layer, options.dtype)
