"""The wav of the picture: any file soundfile reads, as mono float samples [S] at the wanted rate.

S samples. Only what is asked for is decoded. A stretch is resampled with `_CONTEXT` samples on either side
so that it equals the same stretch of the whole file's resampling (to 1e-6).
"""

import os
from dataclasses import dataclass
from math import gcd

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from ..common.bounds import machine_memory
from ..common.inputs import check_file
from .clip import HIGHEST_RATE, LOWEST_RATE, Clip, Crop
from .sphere import shorten_refusal

# Samples at the slower of the two rates; the filter of soxr's HQ setting reaches less than 128 of them.
_CONTEXT = 256
# What libsndfile reports if a header gives no length.
_UNKNOWN_LENGTH = 1 << 62
# A byte of FLAC holds 65,535 samples of silence in 10 bytes at best; all other formats hold fewer.
_SAMPLES_A_BYTE = 8192

Samples = npt.NDArray[np.float32]


class AudioError(ValueError):
    """Audio that cannot be used; the message names the file and the defect."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says."""

    sample_rate: int
    samples: int
    channels: int


def audio_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Rate, length and channels from the header alone."""
    with _open(os.fspath(path)) as file:
        return AudioInfo(file.samplerate, file.frames, file.channels)


def size_at(samples: int, rate: int, target_rate: int) -> int:
    """How many samples remain of `samples` after resampling from `rate` to `target_rate`."""
    return samples * target_rate // rate


def read_audio(source: str | os.PathLike[str] | Clip, sample_rate: int, crop: Crop | None = None) -> Samples:
    """Samples [S] at `sample_rate` of a file, or of a clip of one; of its crop, if it has one."""
    clip = source if isinstance(source, Clip) else Clip(os.fspath(source))
    path, start = clip.path, clip.start
    with _open(path) as file:
        if clip.rate is not None and clip.rate != file.samplerate:
            raise AudioError(
                f"{path}: the manifest's column rate says {clip.rate} Hz, the file has {file.samplerate} Hz; "
                f"correct the column or leave it out"
            )
        length = _segment_length(path, file, start, clip.samples)
        size = size_at(length, file.samplerate, sample_rate)
        if size == 0:
            raise AudioError(
                f"{path}: {length} samples at {file.samplerate} Hz leave none at {sample_rate} Hz, "
                f"expected at least one; leave it out"
            )
        begin, end = (0, size) if crop is None else crop.bounds(size)
        if file.samplerate == sample_rate:
            return _decode(path, file, start + begin, end - begin)
        return _resample_piece(path, file, start, begin, end, sample_rate)


def _open(path: str) -> soundfile.SoundFile:
    size = 0
    try:
        size = check_file(path).st_size
        if not size:
            raise AudioError(
                f"{path}: is empty, 0 bytes, expected an audio file; write it anew or leave it out"
            )
        file = soundfile.SoundFile(os.fsencode(path))  # soundfile cannot take a name that is not UTF-8 as str
    except FileNotFoundError:
        raise AudioError(
            f"{path}: no such file, expected an audio file; correct the manifest's root line or path, "
            f"or restore the file"
        ) from None
    except soundfile.LibsndfileError as error:
        if packed := shorten_refusal(path):
            raise AudioError(f"{path}: {packed}") from error
        got = f"{size} bytes: {error.error_string}" if os.access(path, os.R_OK) else "permission denied"
        raise AudioError(
            f"{path}: cannot be opened as audio ({got.rstrip('.')}); expected FLAC, WAV, OGG or another "
            f"format of libsndfile: convert it or leave it out"
        ) from error
    except OSError as error:
        said = error.strerror or str(error)
        raise AudioError(f"{path}: {said}, expected an audio file; correct the path") from error
    except TypeError as error:  # soundfile's, for the suffixes of headerless audio
        raise AudioError(
            f"{path}: cannot be opened ({error}); expected an audio file that states its format: convert it"
        ) from error
    try:
        _check_header(path, file, size)
    except AudioError:
        file.close()
        raise
    return file


def _check_header(path: str, file: soundfile.SoundFile, size: int) -> None:
    """Refuses what no file of `size` bytes can be, before anything is allocated for it."""
    if file.frames >= _UNKNOWN_LENGTH:
        raise AudioError(
            f"{path}: its header gives no length (a stream that was never finished?), expected one; "
            f"write the file anew"
        )
    if not 0 <= file.frames <= _SAMPLES_A_BYTE * size:
        raise AudioError(
            f"{path}: its header says {file.frames:,} samples, which its {size:,} bytes cannot hold; "
            f"restore the file or leave it out"
        )
    if not LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
        raise AudioError(
            f"{path}: its header says {file.samplerate:,} Hz, expected {LOWEST_RATE:,} to {HIGHEST_RATE:,}; "
            f"write the file anew with its true rate"
        )


def _segment_length(path: str, file: soundfile.SoundFile, start: int, samples: int | None) -> int:
    if file.frames == 0:
        raise AudioError(f"{path}: holds no samples, expected at least one; leave it out")
    if samples is None:
        samples = file.frames - start
    if start + samples > file.frames or samples < 0:
        raise AudioError(
            f"{path}: has {file.frames} samples, {start + samples} were expected (start {start}, samples "
            f"{samples}); the file is cut short, or the manifest is of another version: make one of them anew"
        )
    return samples


def _decode(path: str, file: soundfile.SoundFile, start: int, samples: int) -> Samples:
    """`samples` samples from `start`, channels averaged."""
    if 4 * samples * file.channels > machine_memory():
        raise _too_long(path, file, samples)
    try:
        if start:
            file.seek(start)
        wav = file.read(samples, dtype="float32", always_2d=True)  # [S, channels]
    except MemoryError:
        raise _too_long(path, file, samples) from None
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: breaks off or is corrupt between samples {start} and {start + samples} of "
            f"{file.frames} ({error.error_string.rstrip('.')}); restore the file or leave it out"
        ) from error
    if len(wav) < samples:
        raise AudioError(
            f"{path}: breaks off after {start + len(wav)} samples, its header says {file.frames}; "
            f"restore the file or leave it out"
        )
    mono: Samples = wav[:, 0] if wav.shape[1] == 1 else wav.mean(axis=1)  # [S]
    # One sum is cheaper than a mask; it may overflow although all samples are finite, hence the second test.
    with np.errstate(over="ignore"):
        may_be_bad = not np.isfinite(mono.sum())
    if may_be_bad:
        bad = np.flatnonzero(~np.isfinite(wav).all(axis=1))
        if len(bad):
            raise AudioError(
                f"{path}: {len(bad)} of {samples} samples are NaN or infinite, the first is sample "
                f"{start + bad[0]}; expected finite numbers: write the file anew or leave it out"
            )
    return np.ascontiguousarray(mono)


def _too_long(path: str, file: soundfile.SoundFile, samples: int) -> AudioError:
    return AudioError(
        f"{path}: its {samples:,} samples ({samples / file.samplerate / 3600:.1f} h) need more memory than "
        f"there is; cut it, or list parts of it in a manifest with a column start"
    )


def _resample_piece(
    path: str, file: soundfile.SoundFile, start: int, begin: int, end: int, sample_rate: int
) -> Samples:
    """Samples begin..end, at `sample_rate`, of what begins at `start`."""
    rate = file.samplerate
    common = gcd(rate, sample_rate)
    up, down = (
        sample_rate // common,
        rate // common,
    )  # `down` samples of the file are `up` samples of the result
    context = -(-_CONTEXT * max(rate, sample_rate) // sample_rate)
    # Decoding begins a whole number of periods from `start`, so that both grids meet there.
    periods = (begin * down // up - context) // down
    if start + periods * down < 0:
        periods = -(start // down) - 1
    first = start + periods * down
    last = min(start + -(-end * down // up) + context, file.frames)
    wav = _decode(path, file, max(first, 0), last - max(first, 0))
    if first < 0:  # less than a period of silence before the file's start
        wav = np.concatenate([np.zeros(-first, dtype=np.float32), wav])
    resampled: Samples = soxr.resample(wav, rate, sample_rate, quality="HQ")
    offset = begin - periods * up
    piece = resampled[offset : offset + end - begin]
    if len(piece) < end - begin:  # rounding of the filter at the file's end
        piece = np.pad(piece, (0, end - begin - len(piece)))
    return np.ascontiguousarray(piece)
