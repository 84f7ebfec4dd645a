"""wav → log-mel energies or cepstra: what a spectrum shows in 25 ms windows every 10 ms.

Shapes: S samples, T frames, W samples of a window, F frequencies, M bands, N cepstra.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_MOST_BANDS = 4_096  # beyond it a file's word alone would take all memory
_LOWEST_RATE, _HIGHEST_RATE = 400, 1_000_000  # Hz: a hop of four samples; and more is no audio
_FLOOR = 1e-10  # of an energy, before the logarithm
_FRAMES = 1 << 14  # at a time


def check_bands(num_bands: int, sample_rate: int) -> None:
    """Refuses what gives no spectrum, or one that takes all memory."""
    if not 1 <= num_bands <= _MOST_BANDS:
        raise ValueError(f"`bands` is {num_bands:,}; expected 1 to {_MOST_BANDS:,}")
    if not _LOWEST_RATE <= sample_rate <= _HIGHEST_RATE:
        raise ValueError(f"`sample_rate` is {sample_rate:,}; expected {_LOWEST_RATE:,} to {_HIGHEST_RATE:,}")


class LogMel:
    """Frame t sees samples t·stride … t·stride + window; there is no padding, so each sees audio alone.

    With `num_cepstra` N the first N coefficients of each frame's cosine transform (MFCC): the spectrum's
    shape without its harmonics, so that a voice's pitch is not in them.
    """

    def __init__(
        self,
        sample_rate: int,
        num_bands: int = 80,
        device: torch.device | str = "cpu",
        num_cepstra: int | None = None,
    ) -> None:
        check_bands(num_bands, sample_rate)
        if num_cepstra is not None and not 1 <= num_cepstra <= num_bands:
            raise ValueError(
                f"{num_cepstra} cepstra of {num_bands} bands; expected 1 at least, and no more than bands"
            )
        self.sample_rate, self.num_bands, self.num_cepstra = sample_rate, num_bands, num_cepstra
        self.dim = num_cepstra or num_bands
        self.receptive_field, self.stride = sample_rate // 40, sample_rate // 100
        self._size = 1 << (self.receptive_field - 1).bit_length()
        self._window = torch.hann_window(self.receptive_field, dtype=torch.float64).float().to(device)  # [W]
        self._bands = mel_bands(num_bands, self._size, sample_rate).to(device)  # [F, M]
        self._cosines = None if num_cepstra is None else cosines(num_bands, num_cepstra).to(device)  # [M, N]

    def frames(self, samples: int) -> int:
        return max(0, (samples - self.receptive_field) // self.stride + 1)

    def __call__(self, wav: Tensor) -> Tensor:  # [S] → [T, M], or [T, N]
        return self._of(wav.unfold(0, self.receptive_field, self.stride))

    def of_many(self, clips: Sequence[Tensor]) -> list[Tensor]:  # [S] → [T, M], or [T, N], of each
        """In few calls of a fixed size, as a GPU wants them: no frame depends on what is beside it."""
        windows = [wav.unfold(0, self.receptive_field, self.stride) for wav in clips]
        sizes = [len(each) for each in windows]
        whole = F.pad(torch.cat(windows), (0, 0, 0, -sum(sizes) % _FRAMES))
        return list(torch.split(self._of(whole)[: sum(sizes)], sizes))

    def _of(self, windows: Tensor) -> Tensor:  # [T, W] → [T, M], or [T, N]
        found = []
        for start in range(0, len(windows), _FRAMES):
            part = windows[start : start + _FRAMES]  # [n, W]
            energies = torch.fft.rfft(part * self._window, self._size).abs().square()  # [n, F]
            bands = (energies @ self._bands).clamp_min(_FLOOR).log()  # [n, M]
            found.append(bands if self._cosines is None else bands @ self._cosines)
        return torch.cat(found)


def cosines(num_bands: int, num_cepstra: int) -> Tensor:  # [M, N]
    """The first columns of the orthonormal cosine transform (DCT-II)."""
    bands, waves = torch.arange(num_bands, dtype=torch.float64), torch.arange(num_cepstra)
    found = torch.cos(math.pi / num_bands * (bands[:, None] + 0.5) * waves)
    scale = torch.full((num_cepstra,), math.sqrt(2 / num_bands), dtype=torch.float64)
    scale[0] = math.sqrt(1 / num_bands)
    return (found * scale).float()


def mel_bands(num_bands: int, size: int, sample_rate: int) -> Tensor:  # [F, M]
    """Triangles, equally wide in mel = 2595 · log10(1 + f / 700), each up to its neighbours' middles."""
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    mels = torch.linspace(0, top, num_bands + 2, dtype=torch.float64)
    middles = 700 * (10 ** (mels / 2595) - 1)  # [M + 2], Hz
    frequencies = torch.linspace(0, sample_rate / 2, size // 2 + 1, dtype=torch.float64)[:, None]  # [F, 1]
    rising = (frequencies - middles[:-2]) / (middles[1:-1] - middles[:-2])
    falling = (middles[2:] - frequencies) / (middles[2:] - middles[1:-1])
    return torch.minimum(rising, falling).clamp_min(0).float()
