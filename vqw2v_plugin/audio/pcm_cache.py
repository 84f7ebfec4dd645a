"""The wav of the picture, decoded once: 16-bit samples at the target rate, a memory-mapped file each.

Samples are rounded to 16 bit (error at most 2^-16; exact for 16-bit files neither resampled nor mixed) and
clipped to [-1, 1). A file's name is a hash of the audio file's path, size and modification time, the stretch
and the rate, so a changed audio file gets a new one. Old ones stay; the folder may be deleted at any time.
"""

import hashlib
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..common.files import writing
from ..common.inputs import check_file
from .clip import Clip, Crop
from .reading import AudioError, Samples, read_audio

logger = logging.getLogger(__name__)

_SCALE = 1 << 15


class PcmCache:
    """A folder of decoded utterances; `read` returns what `read_audio` does, from the folder if it can."""

    def __init__(self, folder: str | os.PathLike[str], sample_rate: int) -> None:
        self.folder = Path(folder)
        self.sample_rate = sample_rate
        self._is_writable = True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise AudioError(
                f"audio_cache={self.folder}: cannot be written ({error.strerror}), expected a folder for "
                f"decoded audio; name another one or leave the option out"
            ) from error

    def read(self, clip: Clip, crop: Crop | None = None) -> Samples:
        """Samples [S] of the clip or of its crop; only the crop's pages are read from the disk."""
        pcm = self._load(clip)
        begin, end = (0, len(pcm)) if crop is None else crop.bounds(len(pcm))
        return pcm[begin:end].astype(np.float32) / np.float32(_SCALE)

    def file_of(self, clip: Clip) -> Path:
        """Where the clip is kept."""
        path = clip.path
        try:
            stat = os.stat(path)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise AudioError(
                f"{path}: {reason}, expected an audio file; correct the manifest's root line or path, "
                f"or restore the file"
            ) from error
        identity = (
            os.path.abspath(path),
            stat.st_size,
            stat.st_mtime_ns,
            clip.start,
            clip.samples,
            clip.rate,
            self.sample_rate,
        )
        key = hashlib.sha256(repr(identity).encode("utf-8", errors="surrogateescape")).hexdigest()[:32]
        return self.folder / key[:2] / f"{key}.npy"  # 256 subfolders, so that each stays small

    def _load(self, clip: Clip) -> npt.NDArray[np.int16]:
        file = self.file_of(clip)
        try:
            check_file(file)
            pcm = np.load(file, mmap_mode="r", allow_pickle=False)
            if pcm.dtype == np.int16 and pcm.ndim == 1 and len(pcm):
                return np.asarray(pcm)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, EOFError) as error:
            logger.warning("%s is broken (%s) and is made anew", file, error)
        wav = read_audio(clip, self.sample_rate)
        pcm = np.clip(np.rint(wav * _SCALE), -_SCALE, _SCALE - 1).astype(np.int16)
        self._store(file, pcm)
        return pcm

    def _store(self, file: Path, pcm: npt.NDArray[np.int16]) -> None:
        """A full disk ends the caching, not the run."""
        if not self._is_writable:
            return
        try:
            # not synced: a broken entry is made anew, and syncing each would cost more than decoding it again
            with writing(file, sync=False) as stream:
                np.save(stream, pcm, allow_pickle=False)
        except OSError as error:
            self._is_writable = False
            logger.warning("audio_cache=%s: %s; going on without writing to it", self.folder, error.strerror)
