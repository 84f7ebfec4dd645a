"""The wav of the picture, without the silence in it: by loudness, or by a network that was trained for it.

Shapes: S samples, H hops.
"""

from __future__ import annotations

from threading import local
from typing import Any

import numpy as np
import numpy.typing as npt

from .edges import HOP, said_hops
from .reading import Samples

DETECTORS = ("keep", "energy", "silero")  # what is done with silence: nothing, or who finds it
_PAUSE = 0.2  # seconds; shorter ones may be the closure of a stop
_KEPT = 0.05  # seconds of silence on each side of what is said
_SILERO_RATES = (16_000, 8_000)

Parts = list[tuple[int, int]]  # the first sample of each, and the one after its last


def check_detector(name: str, option: str = "--silence") -> None:
    if name not in DETECTORS:
        raise ValueError(f"`{option}` is {name!r}; expected one of {', '.join(DETECTORS)}")


def without_silence(wav: Samples, sample_rate: int, detector: str) -> Samples:
    """What is said, one part behind the other; all of a clip in which nobody seems to say anything."""
    check_detector(detector)
    if detector == "keep":
        return wav
    parts = (spoken_parts if detector == "energy" else silero_parts)(wav, sample_rate)
    if not parts or parts == [(0, len(wav))]:
        return wav
    said: Samples = np.concatenate([wav[begin:end] for begin, end in parts])
    return said


def spoken_parts(wav: Samples, sample_rate: int) -> Parts:
    """By loudness: pauses of 0.2 s and more are left out, but for a little at their ends."""
    hop = max(1, int(sample_rate * HOP))
    said = said_hops(wav, hop)  # [H]
    if said is None or not said.any():
        return [(0, len(wav))]
    loud = np.flatnonzero(said)
    gaps = np.flatnonzero(np.diff(loud) > round(_PAUSE / HOP))
    firsts, lasts = loud[np.r_[0, gaps + 1]], loud[np.r_[gaps, len(loud) - 1]]
    return _widened(firsts * hop, (lasts + 1) * hop, len(wav), round(_KEPT * sample_rate))


def _widened(begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], size: int, margin: int) -> Parts:
    """A clip's last part of a hop belongs to the last one where it is reached."""
    return [
        (max(0, begin - margin), min(size, end + margin))
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
    ]


def silero_parts(wav: Samples, sample_rate: int) -> Parts:
    """By the network of the package silero-vad."""
    import torch

    if sample_rate not in _SILERO_RATES:
        raise ValueError(f"silero-vad hears audio of 16000 or 8000 Hz, not of {sample_rate}; take `energy`")
    find, model = _silero()
    found = find(torch.from_numpy(np.array(wav)), model, sampling_rate=sample_rate)
    return [(int(part["start"]), int(part["end"])) for part in found]


_LOADED = local()  # the network is stateful: each thread has its own


def _silero() -> tuple[Any, Any]:
    """The function and its network."""
    try:
        from silero_vad import get_speech_timestamps, load_silero_vad
    except ImportError as error:
        raise ValueError(
            f"`--silence silero` needs `silero-vad` ({error}): `pip install silero-vad` (or this package's "
            f"extra `[vad]`); `--silence energy` works without"
        ) from error
    if not hasattr(_LOADED, "model"):
        _LOADED.model = load_silero_vad()
    return get_speech_timestamps, _LOADED.model
