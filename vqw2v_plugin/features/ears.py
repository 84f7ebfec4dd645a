"""wav → … ──acoustic model──▶ letters: all that stands between a clip and its emissions, of any checkpoint.

Shapes: S samples, T' frames of emissions, V columns.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..audio.clip import Clip
from ..audio.reading import Samples, read_audio
from ..checkpoints.acoustic import KIND as ACOUSTIC
from ..checkpoints.acoustic import Acoustic, acoustic_of
from ..checkpoints.files import CheckpointError
from ..checkpoints.finetuned import KIND as FINE_TUNED
from ..checkpoints.finetuned import columns_of
from ..checkpoints.format import load_any
from ..checkpoints.kinds import Audio, Restored
from ..modules.acoustic.network import AcousticOutput
from ..modules.finetuned.network import FineTuned
from ..modules.kernels import devices
from ..modules.layers.conv_spec import ConvGeometry
from ..text.units import Units
from .acoustic_front import rebuild_front
from .base import need_a_frame
from .front import AudioFront
from .speakers import Voices
from .together import fit_side_by_side, side_by_side


class Ears(nn.Module):
    """A clip is heard alone, or on a GPU beside others that change nothing in it."""

    units: Units  # the columns
    frame_seconds: float  # from one frame of emissions to the next
    transitions: Tensor | None  # [V, V]: to, from; of a loss that has any

    sample_rate: int  # Hz
    geometry: ConvGeometry  # of what hears the samples

    @abstractmethod
    def hear(self, wav: Samples, clip: Clip) -> AcousticOutput:
        """What the model says of a clip."""

    @abstractmethod
    def hear_many(self, heard: Sequence[tuple[Samples, Clip]]) -> AcousticOutput:
        """The same of clips that fit, and nothing waits for the device."""

    def fits(self, samples: Sequence[int]) -> bool:
        """Whether clips of so many samples are best heard together; they are padded to the longest."""
        return False

    def read(self, clip: Clip) -> Samples:
        """A clip as it is to be heard; one too short for a frame is refused by name."""
        wav = read_audio(clip, self.sample_rate)
        need_a_frame(len(wav), self.sample_rate, self.geometry, clip.path)
        return wav

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
    def emissions_of(self, heard: Sequence[tuple[Samples, Clip]]) -> list[Tensor]:  # [T', V] each
        """Of one clip that was read, or of several that fit."""
        found = self.hear(*heard[0]) if len(heard) == 1 else self.hear_many(heard)
        return [row[:n].float() for row, n in zip(found.emissions, found.lengths.tolist(), strict=True)]

    def emissions(self, clip: Clip) -> Tensor:  # [T', V]
        return self.emissions_of([(self.read(clip), clip)])[0]


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
        self.sample_rate, self.geometry = front.features.sample_rate, front.features.geometry

    @property
    def goes_by_speaker(self) -> bool:
        return self.front.spec.standardize == "speaker"

    def know(self, voices: Voices) -> None:
        self.front.features.know(voices)

    def notes(self) -> list[str]:
        return self.front.features.notes()

    def hear(self, wav: Samples, clip: Clip) -> AcousticOutput:
        return self._said_of([self.front.features.of_read(wav, clip)])

    def hear_many(self, heard: Sequence[tuple[Samples, Clip]]) -> AcousticOutput:
        return self._said_of(self.front.features.of_many(heard))

    def fits(self, samples: Sequence[int]) -> bool:
        return self.front.features.fits(samples) and fit_side_by_side(samples)

    def _said_of(self, features: list[Tensor]) -> AcousticOutput:  # [T, D] each
        rows = pad_sequence([x.half().float() if self.is_half else x for x in features], batch_first=True)
        lengths = torch.tensor([len(x) for x in features]).to(rows.device, non_blocking=True)
        out: AcousticOutput = self.network(rows, lengths)
        return dataclasses.replace(out, lengths=self._frames(features))

    def _frames(self, features: list[Tensor]) -> Tensor:
        """Of emissions, known without asking the device."""
        return torch.tensor([self.network.frames(len(x)) for x in features])


class FineTunedEars(Ears):
    """A fine-tuned wav2vec 2.0."""

    def __init__(self, restored: Restored[FineTuned]) -> None:
        super().__init__()
        self.network, self.units = restored.network.eval(), columns_of(restored.header)
        self.audio = restored.header.audio or Audio()
        self.sample_rate, self.geometry = self.audio.sample_rate, self.network.wav2vec2.encoder.geometry
        self.frame_seconds = self.network.stride / self.sample_rate
        self.transitions = self.network.transitions

    def hear(self, wav: Samples, clip: Clip) -> AcousticOutput:
        heard = torch.from_numpy(wav).to(self._device)
        return self.network.of_clip(F.layer_norm(heard, heard.shape) if self.audio.normalize else heard)

    def hear_many(self, heard: Sequence[tuple[Samples, Clip]]) -> AcousticOutput:
        clips = [torch.from_numpy(wav) for wav, _ in heard]
        wav, sizes = side_by_side(clips, self.audio.normalize, self._device)
        out: AcousticOutput = self.network(wav, torch.tensor(sizes))
        return out

    def fits(self, samples: Sequence[int]) -> bool:
        return devices.is_gpu(self.network.projection.weight) and fit_side_by_side(samples)

    @property
    def _device(self) -> torch.device:
        return self.network.projection.weight.device


def load_ears(
    path: str | Path,
    front: str | None = None,
    bert: str | None = None,
    pieces: str | None = None,
    pca: str | None = None,
) -> Ears:
    """Of a checkpoint of the task `vq_acoustic`; the others are what makes its features, if it needs any."""
    restored = load_any(Path(path), ACOUSTIC, FINE_TUNED)
    if not isinstance(restored.network, FineTuned):
        acoustic = acoustic_of(restored, Path(path))
        return FrontEars(acoustic, rebuild_front(acoustic, front, bert, pieces, pca))
    if given := next((each for each in (front, bert, pieces, pca) if each is not None), None):
        raise CheckpointError(f"{path} hears audio itself, without features; leave out {given}")
    return FineTunedEars(restored)
