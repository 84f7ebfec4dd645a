"""wav → z → tokens, the Python face: `Tokenizer.load(checkpoint).encode(wav, sample_rate)`, without fairseq.

Shapes: B batch, S samples, T frames, C channels, G groups, V codes a group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import soxr
import torch
from torch import Tensor

from .audio.clip import Clip
from .audio.reading import AudioError, Samples, read_audio, size_at
from .checkpoints.wav2vec import Loaded
from .common.user_code import use_user_dir
from .features.base import check_numbers, need_a_frame, usable_device
from .features.clusters import load_coder
from .features.coder import Coder, NetworkCoder
from .features.together import batches, to_processor

Audio = Tensor | npt.NDArray[Any]


class Tokenizer:
    """A checkpoint's codes, or those of clusters, for audio in memory or in files.

    A clip's codes depend on nothing but the clip: on a processor each goes alone, on a GPU many in one row
    in which none sees another. They are those of `network.encode` but for ties that fp32 cannot tell apart.
    """

    def __init__(
        self, made_by: Loaded | Coder, device: str | torch.device = "cpu", dtype: str | torch.dtype = "fp32"
    ) -> None:
        """`dtype` is that of a network; what codes already has its own."""
        self.device = usable_device(device)
        self.coder = made_by if isinstance(made_by, Coder) else NetworkCoder(made_by, dtype)
        self.numbers = self.coder.numbers
        check_numbers(self.numbers, self.device)
        self.coder.module.to(self.device).eval()
        self.geometry = self.coder.geometry
        self.sample_rate, self.normalize = self.coder.sample_rate, self.coder.normalize

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype = "fp32",
        user_dir: str | Path | None = None,
    ) -> Tokenizer:
        """Of fairseq's trainer, `vqw2v import`, `export` or `cluster`; with bf16 or tf32 some codes differ.

        `user_dir`: the plugin that registers the checkpoint's quantizer, where that is not ours.
        """
        use_user_dir(user_dir)
        return cls(load_coder(path, dtype), device)

    @property
    def num_groups(self) -> int:
        return self.coder.num_groups

    @property
    def num_codes(self) -> int:
        """Codes V in each group."""
        return self.coder.num_codes

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.geometry.stride

    @overload
    def encode(self, wav: Audio, sample_rate: int) -> Tensor: ...

    @overload
    def encode(self, wav: Sequence[Audio], sample_rate: int) -> list[Tensor]: ...

    def encode(self, wav: Audio | Sequence[Audio], sample_rate: int) -> Tensor | list[Tensor]:
        """[S] → codes [T, G]; a batch [B, S] → [B, T, G]; a list of [S] of any lengths → a list of [T, G].

        Mono, floats or int16; the codes are int64, on the CPU. A clip that is too short for a frame, or holds
        NaN or infinity, raises AudioError, which names the clip.
        """
        rate = _rate(sample_rate)
        if isinstance(wav, (list, tuple)):
            return self._encode_clips([(_array(clip), f"clip {i}") for i, clip in enumerate(wav)], rate)
        array = _array(wav)  # type: ignore[arg-type]
        if array.ndim == 1:
            return self._encode_clip(array, rate, "the clip")
        if array.ndim != 2:
            raise AudioError(
                f"audio has the shape {list(array.shape)}; expected [samples] or [clips, samples]"
            )
        batch = f"of [clips, samples] {list(array.shape)}"  # so that who gave channels sees it
        rows = self._encode_clips([(row, f"clip {i} {batch}") for i, row in enumerate(array)], rate)
        frames = self.geometry.frames(size_at(array.shape[1], rate, self.sample_rate))
        return torch.stack(rows) if rows else torch.zeros(0, frames, self.num_groups, dtype=torch.int64)

    def encode_file(
        self, source: str | Path | Clip, start: int = 0, samples: int | None = None, rate: int | None = None
    ) -> Tensor:
        """Codes [T, G] of a file, or of `samples` samples from `start`; or of a manifest's utterance.

        `rate` is the rate that the file is said to have. A clip or an utterance says all three itself.
        """
        if isinstance(source, Clip) and (start, samples, rate) != (0, None, None):
            raise ValueError(f"{source.path}: a clip says where it starts and ends: leave out the others")
        clip = source if isinstance(source, Clip) else Clip(str(source), samples, start, rate)
        return self.encode_read(read_audio(clip, self.sample_rate), clip)

    def encode_read(self, wav: Samples, clip: Clip) -> Tensor:  # [S] → [T, G]
        """Of what `read_audio` gave of a clip at the tokenizer's rate, perhaps in another process."""
        return self._encode_clip(wav, self.sample_rate, clip.path)

    def fits(self, samples: Sequence[int]) -> bool:
        """Whether clips of so many samples are best given to `begin` together, as on a GPU."""
        return self.coder.fits(samples)

    def begin(self, heard: Sequence[tuple[Samples, Clip]]) -> Callable[[], list[Tensor]]:
        """As `encode_read`, of clips that fit; the device is at work until what this returns is called."""
        for wav, clip in heard:
            need_a_frame(len(wav), self.sample_rate, self.geometry, clip.path)
        codes = self.coder.codes_of([torch.from_numpy(wav) for wav, _ in heard])
        return lambda: to_processor(codes)

    @property
    def layer(self) -> str:
        """Whose frames get codes, as `load_features` calls it."""
        return self.coder.layer

    def features_of(self, source: Clip) -> Tensor:
        """The frames [T, D] of a clip that get codes, as they are compared with what codes stand for."""
        wav = read_audio(source, self.sample_rate)
        need_a_frame(len(wav), self.sample_rate, self.geometry, source.path)
        return self.coder.quantizes(torch.from_numpy(wav).to(self.device))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:  # [T, G] → [T, C], [B, T, G] → [B, T, C]
        """The quantized vectors that the codes stand for, on the tokenizer's device in fp32."""
        codes = self._checked_codes(codes).to(self.device)
        return self.coder.vectors(codes) if codes.ndim == 3 else self.coder.vectors(codes[None])[0]

    def times(self, num_frames: int, at: str = "start") -> Tensor:  # [T]
        """Seconds at which the samples that each frame sees start, have their centre, or end."""
        shares = {"start": 0.0, "centre": 0.5, "end": 1.0}
        if at not in shares:
            raise ValueError(f"`at` is {at!r}; expected one of {', '.join(shares)}")
        first = torch.arange(num_frames, dtype=torch.float64) * self.geometry.stride
        return (first + shares[at] * self.geometry.receptive_field) / self.sample_rate

    def tokens(self, codes: Tensor) -> str:  # [T, G]
        """`12-207 3-44 …`: a word a frame, its groups joined by hyphens."""
        codes = self._checked_codes(codes)
        if codes.ndim != 2:
            raise ValueError(
                f"codes have the shape {list(codes.shape)}; expected one clip's [frames, groups]"
            )
        return " ".join("-".join(map(str, frame)) for frame in codes.tolist())

    def parse(self, tokens: str) -> Tensor:  # [T, G]
        """What `tokens` has written."""
        frames = []
        for i, word in enumerate(tokens.split()):
            parts = word.split("-")
            if len(parts) != self.num_groups or not all(p.isascii() and p.isdecimal() for p in parts):
                raise ValueError(
                    f"token {i} is {word!r}; expected {self.num_groups} codes joined by hyphens, as in "
                    f"{'-'.join('0' * self.num_groups)!r}"
                )
            frames.append([int(part) for part in parts])
        if not frames:
            return torch.zeros(0, self.num_groups, dtype=torch.int64)
        return self._checked_codes(torch.tensor(frames))

    def _encode_clip(self, clip: npt.NDArray[Any], rate: int, name: str) -> Tensor:  # [S] → [T, G]
        return self.coder.codes(self._at_own_rate(clip, rate, name).to(self.device)).cpu()

    def _encode_clips(self, clips: Sequence[tuple[npt.NDArray[Any], str]], rate: int) -> list[Tensor]:
        found: list[Tensor] = []
        wavs = (self._at_own_rate(clip, rate, name) for clip, name in clips)
        for some in batches(wavs, len, self.fits):
            if self.fits([len(wav) for wav in some]):
                found += to_processor(self.coder.codes_of(some))
            else:  # one
                found.append(self.coder.codes(some[0].to(self.device)).cpu())
        return found

    def _at_own_rate(self, clip: npt.NDArray[Any], rate: int, name: str) -> Tensor:  # [S] → [S']
        wav = _resample(_mono(clip, name), rate, self.sample_rate)
        need_a_frame(len(wav), self.sample_rate, self.geometry, name)
        return torch.from_numpy(wav)

    def _checked_codes(self, codes: Tensor) -> Tensor:
        codes = torch.as_tensor(codes)
        if codes.is_floating_point() or codes.dtype == torch.bool or codes.is_complex():
            raise ValueError(f"codes are of type {codes.dtype}; expected integers")
        if codes.ndim not in (2, 3) or codes.size(-1) != self.num_groups:
            raise ValueError(
                f"codes have the shape {list(codes.shape)}; expected [frames, {self.num_groups}] or "
                f"[clips, frames, {self.num_groups}]"
            )
        if codes.numel() and not (0 <= int(codes.min()) and int(codes.max()) < self.num_codes):
            raise ValueError(
                f"codes run from {int(codes.min())} to {int(codes.max())}; expected 0 to {self.num_codes - 1}"
            )
        return codes.long()


def _array(wav: Audio) -> npt.NDArray[Any]:
    if isinstance(wav, Tensor):
        return (wav.float() if wav.dtype == torch.bfloat16 else wav).detach().cpu().numpy()
    if isinstance(wav, np.ndarray):
        return wav
    raise AudioError(f"audio is a {type(wav).__name__}; expected numpy arrays or torch tensors")


def _mono(clip: npt.NDArray[Any], name: str) -> Samples:  # [S]
    """float32 samples between -1 and 1, all finite."""
    if clip.ndim != 1:
        raise AudioError(
            f"{name}: has the shape {list(clip.shape)}; expected mono samples [S]: average its channels first"
        )
    if clip.dtype == np.int16:
        return clip.astype(np.float32) / np.float32(32_768)  # as libsndfile does
    if not np.issubdtype(clip.dtype, np.floating):
        raise AudioError(f"{name}: is of type {clip.dtype}; expected floats between -1 and 1, or int16")
    with np.errstate(over="ignore"):
        mono = np.array(clip, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(mono))
    if len(bad):
        raise AudioError(
            f"{name}: {len(bad)} of {len(clip)} samples are NaN or infinite, the first is sample {bad[0]}; "
            f"expected finite numbers"
        )
    return mono


def _resample(wav: Samples, rate: int, target: int) -> Samples:
    """Bit for bit what `read_audio` gives for a file of these samples: it too begins a period early."""
    if rate == target:
        return wav
    common = gcd(rate, target)
    up, down = target // common, rate // common
    size = size_at(len(wav), rate, target)
    early = np.concatenate([np.zeros(down, dtype=np.float32), wav])
    piece: Samples = soxr.resample(early, rate, target, quality="HQ")[up : up + size]
    return np.ascontiguousarray(np.pad(piece, (0, size - len(piece))))


def _rate(sample_rate: int) -> int:
    number = isinstance(sample_rate, (int, float, np.number)) and not isinstance(sample_rate, bool)
    if not number or sample_rate < 1 or sample_rate % 1:
        raise AudioError(f"`sample_rate` is {sample_rate!r}; expected a whole number of Hz")
    return int(sample_rate)
