"""wav → features: the contract that every layer keeps, and what may be asked for.

Shapes: S samples, T frames, D features.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..audio.clip import Clip
from ..audio.reading import AudioError, Samples, read_audio
from ..modules.layers.conv_spec import ConvGeometry
from ..modules.wav2vec.long_clips import MEMORY
from ..stores.feature_spec import FeatureSpec
from ..stores.layers import LAYERS
from .speakers import Voices

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "tf32": torch.float32}  # of weights, by numbers
DEFAULT_BANDS = 80


@dataclass(frozen=True)
class Layer:
    """One of `stores/layers.py`, such as `z`, or with a number `mfcc:13`."""

    name: str
    number: int | None = None

    def __str__(self) -> str:
        return self.name if self.number is None else f"{self.name}:{self.number}"


def parse_layer(text: str, option: str = "--layer") -> Layer:
    """`bert:3`, or a name alone: then the number is the layer's usual one."""
    name, colon, number = text.partition(":")
    kind = LAYERS.get(name)
    if kind is None or (colon and (kind.number is None or not number.removeprefix("-").isdecimal())):
        raise ValueError(f"`{option}` is {text!r}; expected {_choices()}")
    return Layer(name, int(number) if colon else kind.number)


def _choices() -> str:
    found = []
    for name, kind in LAYERS.items():
        found += [name] if kind.number is None else [name, f"{name}:N for {kind.counts}"]
    return f"{', '.join(found[:-1])}, or {found[-1]}"


@dataclass(frozen=True)
class FeatureOptions:
    """Which features, and of which files; what a layer has no use for it leaves alone."""

    layer: str
    checkpoint: str | None = None  # of a vq_wav2vec
    bert: str | None = None
    pieces: str | None = None  # the token folder that a BERT of pieces was trained on
    run_length: bool = False  # for a BERT of run-length tokens
    bands: int = DEFAULT_BANDS  # of a spectrum
    sample_rate: int = 16_000  # of a spectrum; a network has its own
    dtype: str = "fp32"
    memory: int = MEMORY  # bytes of one layer's outputs: beyond it they are computed twice
    deltas: int = 0  # how often the slope over five frames is put beside them
    standardize: str = "none"  # by utterance, or by speaker where a manifest knows them
    pca: str | None = None  # the file of the principal components that frames are given in


class Features(nn.Module):
    """One clip [S] → its features [T, D]. They depend on nothing beside it, also where many go together."""

    def __init__(
        self, layer: Layer, sample_rate: int, geometry: ConvGeometry, dim: int, **described: Any
    ) -> None:
        """`described`: the fields of the spec that the layer has besides."""
        super().__init__()
        self.sample_rate, self.geometry, self.dim = sample_rate, geometry, dim
        self.spec = FeatureSpec(
            layer=str(layer),
            sample_rate=sample_rate,
            stride=geometry.stride,
            receptive_field=geometry.receptive_field,
            dim=dim,
            **described,
        )
        self.device = torch.device("cpu")

    @property
    def stride(self) -> int:
        """Samples from one frame to the next."""
        return self.geometry.stride

    @property
    def receptive_field(self) -> int:
        """Samples that a frame sees."""
        return self.geometry.receptive_field

    def frames(self, num_samples: int) -> int:
        """Of a clip; where `varies` is true the most that there can be, as what is said in it decides."""
        return self.geometry.frames(num_samples)

    @property
    def varies(self) -> bool:
        """Whether clips of one length may have different numbers of frames."""
        return False

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [T, D]
        raise NotImplementedError

    @torch.no_grad()
    def of(self, source: str | os.PathLike[str] | Clip) -> Tensor:  # [T, D]
        """Of a file, a stretch of one or a manifest's utterance, on the features' device."""
        clip = source if isinstance(source, Clip) else Clip(os.fspath(source))
        return self.of_read(read_audio(clip, self.sample_rate), clip)

    @torch.no_grad()
    def of_read(self, wav: Samples, clip: Clip) -> Tensor:  # [S] → [T, D]
        """Of what `read_audio` gave of a clip at their rate, perhaps in another process."""
        need_a_frame(len(wav), self.sample_rate, self.geometry, clip.path)
        return self(torch.from_numpy(wav).to(self.device))  # type: ignore[no-any-return]

    def fits(self, samples: Sequence[int]) -> bool:
        """Whether clips of so many samples are best given to `together`; one by itself may not be."""
        return False

    def together(self, clips: Sequence[Tensor]) -> list[Tensor]:  # [S] → [T, D] each
        """Of clips that fit, wherever these lie: nothing waits for the device."""
        return [self(clip.to(self.device, non_blocking=True)) for clip in clips]

    @torch.no_grad()
    def of_many(self, heard: Sequence[tuple[Samples, Clip]]) -> list[Tensor]:
        """As `of_read`, of clips that fit."""
        return self.together([torch.from_numpy(wav) for wav, _ in heard])

    def know(self, voices: Voices) -> None:
        """Who speaks in what will be asked for; only what goes by speaker has a use for it."""

    def let_learn(self) -> list[nn.Module]:
        """From now on gradients pass to the networks that are answered; ValueError where there are none."""
        raise NotImplementedError

    def refresh(self) -> None:
        """The weights, or their device, are others now."""

    def allow(self, memory: int) -> None:
        """Bytes of one layer's outputs: beyond it they are computed twice."""

    def take_notes(self) -> None:
        """From now on remembers what `notes` tells."""

    def notes(self) -> list[str]:
        """What whoever made features of many clips should know of them, a sentence each."""
        return []

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Features:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.device = fn(torch.empty(0, device=self.device)).device
        self.refresh()
        return self


def need_a_frame(num_samples: int, sample_rate: int, geometry: ConvGeometry, name: str) -> None:
    """Refuses a clip that is too short, by name."""
    if not geometry.frames(num_samples):
        raise AudioError(
            f"{name}: {num_samples} samples at {sample_rate} Hz are too short for a frame; expected at "
            f"least {geometry.receptive_field}: leave it out"
        )


def usable_device(device: str | torch.device) -> torch.device:
    """The device by its whole name, if there is one."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"device {str(device)!r} cannot be used ({reason}); expected cpu or cuda") from None


def number_format(dtype: str | torch.dtype, option: str = "dtype") -> str:
    """`fp32`, `bf16` or `tf32`, as it may be given."""
    for name, known in DTYPES.items():
        if dtype in (name, known):
            return name
    raise ValueError(f"{option} is {dtype!r}; expected fp32, bf16 or tf32")


def check_numbers(numbers: str, device: torch.device, option: str = "dtype") -> None:
    """Refuses those that the device does not have."""
    if numbers == "tf32" and device.type != "cuda":
        raise ValueError(
            f"{option} is 'tf32', which only a GPU's products are in, and the device is {device}; take fp32 "
            "or bf16, or a device cuda"
        )
