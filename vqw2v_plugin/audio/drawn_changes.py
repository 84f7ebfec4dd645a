"""samples → as many samples that say the same: which changes, and how strong, is drawn for each clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .augment import Samples, add_noise, add_reverb, change_pitch

NAMES = ("noise", "reverb", "pitch")
_QUIETEST, _LOUDEST = 20.0, 5.0  # decibels that noise lies below the clip
_SHORTEST, _LONGEST = 0.1, 0.6  # seconds that a room's echo lasts
_SEMITONES = 3.0  # up or down at most


@dataclass(frozen=True)
class DrawnChanges:
    """Each change that is named comes with this probability, whether others come or not."""

    names: tuple[str, ...]
    probability: float = 0.5

    @classmethod
    def parse(cls, text: str, probability: float) -> DrawnChanges:
        """`noise,reverb,pitch`, or some of these."""
        names = tuple(name.strip() for name in text.split(","))
        for name in names:
            if name not in NAMES:
                raise ValueError(f"`augment` has {name!r}; expected some of {', '.join(NAMES)}, with commas")
        if len(set(names)) < len(names):
            raise ValueError(f"`augment` is {text!r}; expected each change once")
        if not 0 < probability <= 1:
            raise ValueError(f"`augment_probability` is {probability}; expected more than 0, and at most 1")
        return cls(names, probability)

    def __call__(self, wav: Samples, rng: np.random.Generator, rate: int) -> Samples:
        """Pitch first, since a room and its noise do not move with a voice."""
        drawn = {name: (rng.random() < self.probability, rng.random()) for name in NAMES}
        for name in ("pitch", "reverb", "noise"):
            happens, strength = drawn[name]
            if name not in self.names or not happens:
                continue
            if name == "pitch":
                wav = change_pitch(wav, rate, _SEMITONES * (2 * strength - 1))
            elif name == "reverb":
                wav = add_reverb(wav, rng, rate, _SHORTEST + strength * (_LONGEST - _SHORTEST))
            else:
                wav = add_noise(wav, rng, _QUIETEST + strength * (_LOUDEST - _QUIETEST))
        return wav
