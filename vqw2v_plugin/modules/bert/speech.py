"""wav ──BERT──▶ states: a Transformer that restores the codes of masked speech (HuBERT, arXiv 2106.07447).

Shapes: S samples; N joined frames of a batch's utterances, one after the other; K masked ones, D model;
B bands times frames that are joined; H codes of a joined frame (each of its frames' groups), of V codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.attention import Rows
from ..layers.apart import Apart, owners, sums_of
from ..layers.conv_spec import ConvGeometry
from ..layers.spectrum import LogMel
from .config import MOST_STACKED, SpeechBertConfig
from .encoder import MaskedEncoder, initialize
from .vocabulary import Prediction

NO_CODE = -1  # a target that nobody knows
_LEAST_DEVIATION = 1e-2  # of a band's logarithm: digital silence has none


class SpeechInput:
    """wav → log-mels of which `stack` neighbours are one frame; a frame sees audio alone."""

    def __init__(
        self,
        sample_rate: int,
        bands: int = 80,
        stack: int = 2,
        normalize_bands: bool = True,
    ) -> None:
        if not 1 <= stack <= MOST_STACKED:
            raise ValueError(f"`stack` is {stack}; expected 1 to {MOST_STACKED} frames of 10 ms")
        self.mel = LogMel(sample_rate, bands)
        self.stack, self.normalize_bands = stack, normalize_bands
        self._made = {torch.device("cpu"): self.mel}
        hop = self.mel.stride
        self.geometry = ConvGeometry(self.mel.receptive_field + (stack - 1) * hop, stack * hop)

    def __call__(self, wav: Tensor) -> Tensor:  # [S] → [T, B]
        return self._joined(self._mel_on(wav.device)(wav), len(wav))

    def of_many(self, clips: Sequence[Tensor]) -> list[Tensor]:  # [S] → [T, B] each
        """The spectra at once, and each clip's bands by themselves."""
        found = self._mel_on(clips[0].device).of_many(clips)
        return [self._joined(x, len(wav)) for x, wav in zip(found, clips, strict=True)]

    def _joined(self, x: Tensor, samples: int) -> Tensor:  # [T · stack, bands] → [T, B]
        x = x[: self.geometry.frames(samples) * self.stack]
        if self.normalize_bands:
            x = x - x.mean(0)
            x = x / x.square().mean(0).sqrt().clamp_min(_LEAST_DEVIATION)
        return x.reshape(-1, self.stack * x.size(1))

    def _mel_on(self, device: torch.device) -> LogMel:
        """Its tables move once."""
        if device not in self._made:
            self._made[device] = LogMel(self.mel.sample_rate, self.mel.num_bands, device)
        return self._made[device]


class SpeechBert(MaskedEncoder):
    """A projection, layers, and a head that scores each code of each frame that was joined.

    Codes of a joined frame are targets each, not the one in its middle: where log-mels and codes come every
    10 ms the middle lies between two codes, and half of what the first round found would not be learnt.
    """

    config: SpeechBertConfig

    def __init__(self, config: SpeechBertConfig) -> None:
        super().__init__()
        dim = config.encoder_embed_dim
        self.config = config
        self.projection = nn.Linear(config.stack * config.bands, dim)
        self.mask = nn.Parameter(torch.empty(dim))
        self._add_layers(config)
        self.num_targets = config.stack * config.num_groups
        self.output = nn.Linear(dim, self.num_targets * config.num_codes)
        self.apply(initialize)
        nn.init.normal_(self.mask, std=0.02)

    def forward(
        self, frames: Tensor, lengths: Sequence[int], masked: Rows, targets: Tensor, apart: bool = False
    ) -> Prediction:
        """What a training step needs, computed for masked frames alone: frames [N, B], targets [K, H]."""
        x = self.masked_input(frames, masked.index)
        scores = self._scores(self._masked_states(x, lengths, masked)).flatten(0, 1).float()  # [K · H, V]
        wanted = targets.flatten()
        loss = F.cross_entropy(scores, wanted, ignore_index=NO_CODE, reduction="sum")
        right = scores.detach().argmax(-1) == wanted
        told = None
        if apart:
            rows = owners(masked.counts, scores.device).repeat_interleave(targets.size(1))
            each = F.cross_entropy(scores.detach(), wanted, ignore_index=NO_CODE, reduction="none")
            told = Apart(sums_of(each, right, wanted != NO_CODE, rows, len(masked.counts)))
        return Prediction(loss, right.sum(), told)

    def masked_input(self, frames: Tensor, masked: Tensor) -> Tensor:
        """What the layers see [N, D]: of masked frames [K] nothing but that they are."""
        x = self.projection(frames)
        return x.index_put((masked,), self.mask.to(x.dtype))  # type: ignore[no-any-return]

    def states(self, frames: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """The projection of all that is heard, then each layer's output, [N, D] each."""
        return self._states(self.projection(frames), lengths)

    def scores(self, frames: Tensor, lengths: Sequence[int]) -> Tensor:
        """Of every code of every frame: [N, H, V]."""
        return self._scores(self.states(frames, lengths)[-1])

    def _scores(self, x: Tensor) -> Tensor:
        return self.output(self._head(x)).unflatten(-1, (self.num_targets, -1))  # type: ignore[no-any-return]
