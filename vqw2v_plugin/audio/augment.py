"""samples → samples that say the same: noise, reverberation, another tempo, another pitch.

Each takes a generator, which alone says what is drawn; none changes the samples it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
_WINDOW, _SEARCH = 0.03, 0.008  # seconds: of a piece that tempo is changed by, and where it may be taken from
_REVERB = 0.3  # seconds until an echo is 60 dB lower


def add_noise(wav: Samples, rng: np.random.Generator, decibels: float) -> Samples:
    """White noise so many decibels below the clip's own power."""
    level = np.sqrt(np.mean(np.square(wav, dtype=np.float64)) / 10 ** (decibels / 10))
    noisy: Samples = (wav + level * rng.standard_normal(len(wav))).astype(np.float32)
    return noisy


def add_reverb(wav: Samples, rng: np.random.Generator, rate: int, seconds: float = _REVERB) -> Samples:
    """As in a room: what comes after the direct sound is noise that fades, 60 dB in so many seconds.

    As long as before, and of the same power.
    """
    size = max(1, int(seconds * rate))
    fading = np.exp(-np.log(1000) * np.arange(size) / size)
    room = rng.standard_normal(size) * fading
    room *= 0.5 / np.sqrt(np.square(room).sum())
    room[0] = 1.0
    length = 1 << (len(wav) + size - 1).bit_length()
    heard = np.fft.irfft(np.fft.rfft(wav, length) * np.fft.rfft(room, length), length)[: len(wav)]
    return _of_power(heard, wav)


def change_tempo(wav: Samples, rate: int, factor: float) -> Samples:
    """`factor` times as fast at the same pitch: pieces of the clip, each where it best goes on (WSOLA)."""
    window = 2 * max(1, int(_WINDOW * rate / 2))
    step, reach = window // 2, int(_SEARCH * rate)
    size = round(len(wav) / factor)
    shape = np.hanning(window + 1)[:-1]
    padded = np.pad(wav.astype(np.float64), (reach, window + step + reach))
    out = np.zeros(size + window)
    previous = None
    for at in range(0, size, step):
        middle = min(int(at * factor), len(wav)) + reach
        best = (
            middle
            if previous is None
            else middle + _best_shift(padded, previous + step, middle, window, reach)
        )
        out[at : at + window] += shape * padded[best : best + window]
        previous = min(best, len(padded) - window - step)
    out[:step] += (1 - shape[:step]) * padded[reach : reach + step]  # nothing came before the first piece
    return out[:size].astype(np.float32)


def change_pitch(wav: Samples, rate: int, semitones: float) -> Samples:
    """Higher by so many semitones, formants too, and as long as before."""
    factor = 2 ** (semitones / 12)
    slower = change_tempo(wav, rate, 1 / factor)
    places = np.arange(len(wav)) * (len(slower) - 1) / max(1, len(wav) - 1)
    return np.interp(places, np.arange(len(slower)), slower).astype(np.float32)


def _best_shift(padded: npt.NDArray[np.float64], wanted: int, middle: int, window: int, reach: int) -> int:
    """How far from `middle` a piece lies that is most like what would come next."""
    target = padded[wanted : wanted + window]
    region = padded[middle - reach : middle + reach + window]
    products = np.correlate(region, target, "valid")
    squares = np.cumsum(np.concatenate([[0.0], np.square(region)]))
    norms = np.sqrt(np.maximum(squares[window:] - squares[:-window], 1e-12))
    return int(np.argmax(products / norms)) - reach


def _of_power(wav: npt.NDArray[np.float64], like: Samples) -> Samples:
    power = np.sqrt(np.square(wav).sum())
    wanted = np.sqrt(np.square(like, dtype=np.float64).sum())
    return (wav * (wanted / power if power else 1.0)).astype(np.float32)


# what robustness is told of: a name, and the change
CHANGES: Mapping[str, Callable[[Samples, np.random.Generator, int], Samples]] = {
    "noise 20 dB": lambda wav, rng, rate: add_noise(wav, rng, 20),
    "noise 10 dB": lambda wav, rng, rate: add_noise(wav, rng, 10),
    "reverb": lambda wav, rng, rate: add_reverb(wav, rng, rate),
    "pitch +2": lambda wav, rng, rate: change_pitch(wav, rate, 2),
    "pitch -2": lambda wav, rng, rate: change_pitch(wav, rate, -2),
    "tempo 0.9": lambda wav, rng, rate: change_tempo(wav, rate, 0.9),
    "tempo 1.1": lambda wav, rng, rate: change_tempo(wav, rate, 1.1),
}
