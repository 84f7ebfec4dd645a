"""wav → features, prepared for little data: slopes beside a layer's frames, mean and scale taken away.

Shapes: S samples, T frames, D features.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from ..audio.clip import Clip
from ..audio.reading import Samples
from ..modules.layers.slopes import Moments, standardized, with_slopes
from ..stores.feature_spec import check_preparation
from .base import Features
from .over import FeaturesOver
from .speakers import Speakers, Voices


class PreparedFeatures(FeaturesOver):
    """Another layer's frames with their slopes, at mean 0 and variance 1 of an utterance or of a speaker.

    `know` is told who speaks. Audio of which nobody says it goes by its own mean and scale, and `notes`
    counts it.
    """

    def __init__(self, features: Features, deltas: int, standardize: str) -> None:
        check_preparation(deltas, standardize)
        super().__init__(features)
        self.deltas, self.standardize = deltas, standardize
        self.dim = features.dim * (1 + deltas)
        self.spec = dataclasses.replace(
            features.spec,
            dim=self.dim,
            deltas=deltas or None,
            standardize=None if standardize == "none" else standardize,
        )
        self._speakers: Speakers | None = None
        self._own, self._lock = 0, threading.Lock()  # clips that went by their own mean and scale

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [T, D]
        return self._prepared(self.features(wav), None)

    @torch.no_grad()
    def of_read(self, wav: Samples, clip: Clip) -> Tensor:  # [S] → [T, D]
        return self.prepare(self.features.of_read(wav, clip), clip)

    @torch.no_grad()
    def prepare(self, x: Tensor, clip: Clip) -> Tensor:  # [T, F] → [T, D]
        """The layer's own frames of a clip, by what is known of who speaks it."""
        return self._prepared(x, self._speaker_of(clip))

    def fits(self, samples: Sequence[int]) -> bool:
        return self.features.fits(samples)

    @torch.no_grad()
    def together(self, clips: Sequence[Tensor]) -> list[Tensor]:
        return [self._prepared(x, None) for x in self.features.together(clips)]

    @torch.no_grad()
    def of_many(self, heard: Sequence[tuple[Samples, Clip]]) -> list[Tensor]:
        found = self.features.of_many(heard)
        return [self.prepare(x, clip) for x, (_, clip) in zip(found, heard, strict=True)]

    def _speaker_of(self, clip: Clip) -> Moments | None:
        """None: the clip goes by its own."""
        moments = None if self._speakers is None else self._speakers.of(clip)
        if self.standardize == "speaker" and moments is None:
            with self._lock:
                self._own += 1
        return moments

    def know(self, voices: Voices) -> None:
        if self.standardize == "speaker":
            self._speakers = Speakers(voices, self._sloped)

    def _sloped(self, clip: Clip) -> Tensor:
        return with_slopes(self.features.of(clip).float(), self.deltas)

    def _prepared(self, x: Tensor, moments: Moments | None) -> Tensor:
        x = with_slopes(x.float(), self.deltas)
        return x if self.standardize == "none" else standardized(x, moments)

    def take_notes(self) -> None:
        super().take_notes()
        self._own = 0

    def notes(self) -> list[str]:
        own = [
            f"{self._own:,} utterances went by their own mean and scale: nobody says who speaks them"
        ] * bool(self._own)
        return [*super().notes(), *own]
