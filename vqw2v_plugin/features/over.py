"""wav → features that stand on a layer's: what every such form takes over from the layer under it."""

from __future__ import annotations

from torch import nn

from .base import Features
from .speakers import Voices


class FeaturesOver(Features):
    """Whatever is asked that it does not answer itself, the layer answers."""

    def __init__(self, features: Features) -> None:
        nn.Module.__init__(self)  # all that a layer says of itself is taken over
        self.features = features
        self.sample_rate, self.geometry, self.dim = features.sample_rate, features.geometry, features.dim
        self.spec, self.device = features.spec, features.device

    @property
    def varies(self) -> bool:
        return self.features.varies

    def know(self, voices: Voices) -> None:
        self.features.know(voices)

    def let_learn(self) -> list[nn.Module]:
        return self.features.let_learn()

    def refresh(self) -> None:
        self.features.refresh()

    def allow(self, memory: int) -> None:
        self.features.allow(memory)

    def take_notes(self) -> None:
        self.features.take_notes()

    def notes(self) -> list[str]:
        return self.features.notes()
