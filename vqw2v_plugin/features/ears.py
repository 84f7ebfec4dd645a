"""wav → … ──acoustic model──▶ letters: all that stands between a clip and its emissions, of any checkpoint.

Shapes: S samples, T' frames of emissions, V columns.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..audio.clip import Clip
from ..audio.reading import read_audio
from ..checkpoints.acoustic import KIND as ACOUSTIC
from ..checkpoints.acoustic import Acoustic, acoustic_of
from ..checkpoints.files import CheckpointError
from ..checkpoints.finetuned import KIND as FINE_TUNED
from ..checkpoints.finetuned import columns_of
from ..checkpoints.format import load_any
from ..checkpoints.kinds import Audio, Restored
from ..modules.acoustic.network import AcousticOutput
from ..modules.finetuned.network import FineTuned
from ..text.units import Units
from .acoustic_front import rebuild_front
from .base import need_a_frame
from .front import AudioFront
from .speakers import Voices


class Ears(nn.Module):
    """One clip at a time, which is heard alone."""

    units: Units  # the columns
    frame_seconds: float  # from one frame of emissions to the next
    transitions: Tensor | None  # [V, V]: to, from; of a loss that has any

    @abstractmethod
    def hear(self, clip: Clip) -> AcousticOutput:
        """What the model says of it."""

    @property
    def goes_by_speaker(self) -> bool:
        """What it hears depends on who speaks."""
        return False

    def know(self, voices: Voices) -> None:
        """Who speaks in the clips that it will hear."""

    def notes(self) -> list[str]:
        """What its user is to know of the clips that it heard."""
        return []

    @torch.inference_mode()
    def emissions(self, clip: Clip) -> Tensor:  # [T', V]
        heard = self.hear(clip)
        return heard.emissions[0, : int(heard.lengths[0])].float()


class FrontEars(Ears):
    """An acoustic model over the features that a front makes."""

    def __init__(self, acoustic: Acoustic, front: AudioFront) -> None:
        super().__init__()
        wanted = acoustic.network.config.in_dim
        if front.dim != wanted:
            raise ValueError(f"the features have {front.dim} numbers a frame; the model wants {wanted}")
        self.network, self.front = acoustic.network.eval(), front.eval()
        self.units, self.frame_seconds = acoustic.units, acoustic.frame_seconds
        self.transitions = acoustic.transitions
        self.is_half = acoustic.spec.store == "fp16"  # then training saw features rounded so

    @property
    def goes_by_speaker(self) -> bool:
        return self.front.spec.standardize == "speaker"

    def know(self, voices: Voices) -> None:
        self.front.features.know(voices)

    def notes(self) -> list[str]:
        return self.front.features.notes()

    def hear(self, clip: Clip) -> AcousticOutput:
        features = self.front.features.of(clip)  # [T, D]
        features = features.half().float() if self.is_half else features
        out: AcousticOutput = self.network(
            features[None], torch.tensor([len(features)], device=features.device)
        )
        return out


class FineTunedEars(Ears):
    """A fine-tuned wav2vec 2.0."""

    def __init__(self, restored: Restored[FineTuned]) -> None:
        super().__init__()
        self.network, self.units = restored.network.eval(), columns_of(restored.header)
        self.audio = restored.header.audio or Audio()
        self.frame_seconds = self.network.stride / self.audio.sample_rate
        self.transitions = self.network.transitions

    def hear(self, clip: Clip) -> AcousticOutput:
        samples = read_audio(clip, self.audio.sample_rate)
        geometry = self.network.wav2vec2.encoder.geometry
        need_a_frame(len(samples), self.audio.sample_rate, geometry, clip.path)
        wav = torch.from_numpy(samples).to(self.network.projection.weight.device)
        wav = F.layer_norm(wav, wav.shape) if self.audio.normalize else wav
        return self.network.of_clip(wav)


def load_ears(
    path: str | Path, front: str | None = None, bert: str | None = None, pieces: str | None = None
) -> Ears:
    """Of a checkpoint of the task `vq_acoustic`; the others are what makes its features, if it needs any."""
    restored = load_any(Path(path), ACOUSTIC, FINE_TUNED)
    if not isinstance(restored.network, FineTuned):
        acoustic = acoustic_of(restored, Path(path))
        return FrontEars(acoustic, rebuild_front(acoustic, front, bert, pieces))
    if given := next((each for each in (front, bert, pieces) if each is not None), None):
        raise CheckpointError(f"{path} hears audio itself, without features; leave out {given}")
    return FineTunedEars(restored)
